#include "actors/interfaces.hpp"

namespace crema {

// Holds the newest ring and tells everybody. Until members can change at run time there is one epoch: the ring that was
// claimed from the configuration when the data directory was made, and persisted (node_setup.cpp).
struct ring_manager_state {
  static inline constexpr const char* name = "ring_manager";
  env_ptr env;
  protocol::ring_ptr ring;
  std::vector<caf::actor> listeners;
};

namespace {

caf::behavior ring_manager(caf::stateful_actor<ring_manager_state>* self, const env_ptr& env,
                           std::vector<caf::actor> listeners) {
  auto& st = self->state;
  st.env = env;
  drop_unexpected(self, env);
  st.ring = env->first_ring;
  st.listeners = std::move(listeners);
  for (const auto& listener : st.listeners)
    self->send(listener, ring_published{st.ring});
  return {
      [self](stats_request) {
        return stats{{{"epoch", self->state.ring->epoch}, {"members", self->state.ring->members.size()}}, {}, {}};
      },
      [](const ring_taken&) {},
      [](ring_wanted) {},
      [](const move_progress&) {},
      [self](stop_request) { self->quit(caf::exit_reason::user_shutdown); },
  };
}

} // namespace

caf::actor spawn_ring_manager(caf::actor_system& system, env_ptr env, std::vector<caf::actor> listeners) {
  return system.spawn(ring_manager, std::move(env), std::move(listeners));
}

} // namespace crema
