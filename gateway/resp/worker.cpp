#include "gateway/resp/worker.hpp"

#include "gateway/resp/session.hpp"

#include <boost/asio/post.hpp>
#include <nlohmann/json.hpp>

#include <csignal>
#include <pthread.h>

namespace crema::gateway::resp {

using boost::asio::ip::tcp;

namespace {

std::string text_of(const tcp::endpoint& e) {
  auto address = e.address().to_string();
  return (e.address().is_v6() ? "[" + address + "]" : address) + ":" + std::to_string(e.port());
}

/// Why the backend has not done what it was asked for: then it answers with this alone. Other answers may be large.
std::optional<std::string> error_in(const std::string& text) {
  constexpr std::string_view begin = R"({"error":)";
  if (text.compare(0, begin.size(), begin) != 0)
    return std::nullopt;
  auto tree = nlohmann::json::parse(text, nullptr, false);
  auto found = tree.is_object() ? tree.find("error") : tree.end();
  return found != tree.end() && found->is_string() ? std::optional{found->get<std::string>()} : std::nullopt;
}

} // namespace

void inbox::deliver(std::vector<client_reply> replies) {
  if (replies.empty())
    return;
  std::lock_guard lock(mutex_);
  if (owner_ == nullptr)
    return;
  arrived_.push_back(std::move(replies));
  if (arrived_.size() == 1) // Else the worker has been told already.
    boost::asio::post(owner_->loop(), [self = shared_from_this(), owner = owner_] { owner->on_arrived(); });
}

void inbox::detach() {
  std::lock_guard lock(mutex_);
  owner_ = nullptr;
  arrived_.clear();
}

void inbox::take(std::vector<std::vector<client_reply>>& batches) {
  std::lock_guard lock(mutex_);
  batches.swap(arrived_);
}

worker::worker(environment& env, client_backend& backend, statistics& stats)
    : env_(env), backend_(backend), stats_(stats) {}

worker::~worker() {
  inbox_->detach();
  join();
}

void worker::start() {
  // Signals are for the thread that expects them.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "crema-resp");
    loop_.run();
  });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void worker::stop(std::chrono::milliseconds grace) {
  boost::asio::post(loop_, [this, grace] { begin_drain(grace); });
}

void worker::join() {
  if (thread_.joinable())
    thread_.join();
}

void worker::drained() {
  boost::asio::post(loop_, [this] {
    idle_timer_.cancel();
    if (env_.drained())
      send_idle_away();
  });
}

void worker::ready() {
  boost::asio::post(loop_, [this] {
    std::vector<session*> all;
    for (const auto& [s, owned] : sessions_)
      all.push_back(s);
    for (auto* s : all) {
      s->pump();
      if (s->finished())
        destroy(*s);
    }
  });
}

/// Who does not ask for anything does not notice that it is to go elsewhere.
void worker::send_idle_away() {
  constexpr std::chrono::seconds patience{1};
  idle_timer_.expires_after(patience);
  idle_timer_.async_wait([this](const boost::system::error_code& e) {
    if (e || !env_.drained())
      return;
    std::vector<session*> all;
    for (const auto& [s, owned] : sessions_)
      all.push_back(s);
    for (auto* s : all) {
      s->leave_if_idle();
      if (s->finished())
        destroy(*s);
    }
    send_idle_away();
  });
}

void worker::begin_drain(std::chrono::milliseconds grace) {
  draining_ = true;
  idle_timer_.cancel();
  grace_timer_.expires_after(grace);
  grace_timer_.async_wait([this](const boost::system::error_code& e) {
    if (!e)
      end();
  });
  std::vector<session*> all;
  for (const auto& [s, owned] : sessions_)
    all.push_back(s);
  for (auto* s : all) {
    s->drain();
    if (s->finished())
      destroy(*s);
  }
  if (open_ == 0)
    end();
}

void worker::end() {
  inbox_->detach();
  for (const auto& [s, owned] : sessions_)
    s->close();
  loop_.stop();
}

void worker::adopt(tcp::socket socket, const tcp::endpoint& peer) {
  ++open_;
  client_info info;
  info.id = env_.clients.next_id();
  info.address = text_of(peer);
  boost::system::error_code e;
  auto local = socket.local_endpoint(e);
  info.local_address = e ? std::string() : text_of(local);
  info.connected_at_ms = env_.now_ms();
  info.late = env_.drained();
  auto owned = std::make_unique<session>(*this, std::move(socket), std::move(info));
  auto& s = *owned;
  sessions_.emplace(&s, std::move(owned));
  s.start();
  if (draining_)
    s.drain();
  if (s.finished())
    destroy(s);
}

void worker::destroy(session& s) { sessions_.erase(&s); }

void worker::closed() {
  env_.connected.fetch_sub(1, std::memory_order_relaxed);
  if (--open_ == 0 && draining_)
    boost::asio::post(loop_, [this] { end(); });
}

uint64_t worker::new_id(conversation& from, uint64_t sequence, uint32_t part) {
  if (free_slot_ == no_slot) {
    free_slot_ = static_cast<uint32_t>(slots_.size());
    slots_.push_back({nullptr, 0, 0, 0, no_slot});
  }
  auto index = free_slot_;
  auto& s = slots_[index];
  free_slot_ = s.next_free;
  s.owner = &from;
  s.sequence = sequence;
  s.part = part;
  return uint64_t{s.generation} << 32 | index;
}

void worker::submit(conversation& from, uint64_t sequence, uint32_t part, client_request&& request) {
  request.id = new_id(from, sequence, part);
  if (outgoing_.empty())
    outgoing_.reserve(last_batch_);
  outgoing_.push_back(std::move(request));
  if (flush_posted_)
    return;
  // Runs behind the sockets that are ready in this turn already: their commands join the batch.
  flush_posted_ = true;
  boost::asio::post(loop_, [this] { flush(); });
}

void worker::flush() {
  flush_posted_ = false;
  last_batch_ = outgoing_.size();
  stats_.requests.add(outgoing_.size());
  stats_.batches.add(1);
  std::vector<client_request> requests;
  requests.swap(outgoing_);
  backend_.submit({inbox_, std::move(requests)});
}

std::function<void(std::string)> worker::text_to(conversation& from, uint64_t sequence) {
  return [sink = inbox_, id = new_id(from, sequence, 0)](std::string text) {
    client_reply reply;
    reply.id = id;
    reply.values.push_back({std::move(text), 0, 0});
    sink->deliver({std::move(reply)});
  };
}

void worker::ask_status(conversation& from, uint64_t sequence) { backend_.status(text_to(from, sequence)); }

void worker::sync_point(conversation& from, uint64_t sequence, uint64_t id) {
  backend_.sync_point(id, text_to(from, sequence));
}

void worker::repair(conversation& from, uint64_t sequence, const repair_order& order) {
  backend_.repair(order, text_to(from, sequence));
}

void worker::topology(conversation& from, uint64_t sequence, topology_order order) {
  backend_.topology(std::move(order), [sink = inbox_, id = new_id(from, sequence, 0)](std::string text) {
    client_reply reply;
    reply.id = id;
    if (auto why = error_in(text)) {
      reply.status = errc::storage_failure; // Shown as ERR and the cause.
      reply.error = std::move(*why);
    } else {
      reply.values.push_back({std::move(text), 0, 0});
    }
    sink->deliver({std::move(reply)});
  });
}

void worker::count_keys(conversation& from, uint64_t sequence, bucket_id bucket) {
  auto id = new_id(from, sequence, 0);
  backend_.count_keys(bucket, [sink = inbox_, id](std::optional<uint64_t> count, std::string error) {
    client_reply reply;
    reply.id = id;
    if (count) {
      reply.values.push_back({std::to_string(*count), 0, 0});
    } else {
      reply.status = errc::storage_failure;
      reply.error = error.empty() ? "the keys cannot be counted" : std::move(error);
    }
    sink->deliver({std::move(reply)});
  });
}

void worker::on_arrived() {
  inbox_->take(batches_);
  for (auto& batch : batches_)
    for (auto& reply : batch)
      route(std::move(reply));
  batches_.clear();
  for (auto* s : touched_) {
    s->touched = false;
    s->pump();
    if (s->finished())
      destroy(*s);
  }
  touched_.clear();
}

void worker::route(client_reply&& reply) {
  auto index = static_cast<uint32_t>(reply.id);
  auto generation = static_cast<uint32_t>(reply.id >> 32);
  if (index >= slots_.size() || slots_[index].owner == nullptr || slots_[index].generation != generation)
    return;
  auto& free = slots_[index];
  auto taken = free;
  free.owner = nullptr;
  ++free.generation;
  free.next_free = free_slot_;
  free_slot_ = index;
  taken.owner->on_reply(taken.sequence, taken.part, std::move(reply)); // May ask for more: `free` is void then.
  auto* s = static_cast<session*>(taken.owner);
  if (!s->touched) {
    s->touched = true;
    touched_.push_back(s);
  }
}

} // namespace crema::gateway::resp
