#include "messages/register.hpp"

namespace crema {

void register_messages(caf::actor_system_config& config) { config.add_message_types<caf::id_block::crema>(); }

} // namespace crema
