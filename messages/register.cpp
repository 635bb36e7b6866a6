#include "messages/register.hpp"

#include <type_traits>
#include <utility>

namespace crema {

namespace {

template <class T, class = void>
struct has_version : std::false_type {};
template <class T>
struct has_version<T, std::void_t<decltype(T::version)>> : std::true_type {};

template <class T>
bool read_version(const caf::message& message, std::optional<uint16_t>& version) {
  if constexpr (has_version<T>::value) {
    if (!message.match_element<T>(0))
      return false;
    version = message.get_as<T>(0).version;
    return true;
  } else {
    return false;
  }
}

template <size_t... I>
std::optional<uint16_t> find_version(const caf::message& message, std::index_sequence<I...> /*ids*/) {
  std::optional<uint16_t> version;
  (read_version<typename caf::type_by_id<caf::id_block::crema::begin + I>::type>(message, version) || ...);
  return version;
}

} // namespace

void register_messages(caf::actor_system_config& config) { config.add_message_types<caf::id_block::crema>(); }

std::optional<uint16_t> version_of(const caf::message& message) {
  constexpr auto count = caf::id_block::crema::end - caf::id_block::crema::begin;
  return message.empty() ? std::nullopt : find_version(message, std::make_index_sequence<count>{});
}

} // namespace crema
