#include "gateway/resp/conversation.hpp"

#include "gateway/resp/commands.hpp"
#include "gateway/resp/replies.hpp"

#include <algorithm>
#include <functional>

namespace crema::gateway::resp {

namespace {

// A command on more keys than this waits for all earlier ones instead of looking for the one it conflicts with.
constexpr size_t keys_compared_max = 64;
// An output buffer above this is given back once it is written.
constexpr size_t output_bytes_kept = size_t{16} * 1024;

} // namespace

conversation::conversation(environment& env, statistics& stats, request_port& port, client_info info)
    : env_(env), stats_(stats), port_(port), info_(std::move(info)), view_(&env.view()),
      bucket_(&view_->default_bucket()) {
  info_.db = bucket_->db;
  publish();
}

conversation::~conversation() { env_.clients.remove(info_.id); }

bool conversation::wants_input() const {
  return !closing_ && !abandoned_ && queue_.size() < commands_in_flight_max && bytes_in_flight_ < bytes_in_flight_max &&
         out_.size() - sent_ + bytes_ready_ < unsent_bytes_max && reads_in_flight_ < read_window_ && !still_blocked();
}

bool conversation::still_blocked() const {
  switch (blocked_) {
  case blocked::no:
    return false;
  case blocked::by_key:
    return locks_.conflicts(blocked_hash_, blocked_write_);
  case blocked::until_drained:
    return !queue_.empty();
  case blocked::until_ready:
    return !env_.ready();
  }
  return false;
}

/// The bucket may have been changed meanwhile. If it was dropped, whatever is asked of it is refused by the node.
void conversation::follow_view() {
  if (view_ == &env_.view())
    return;
  view_ = &env_.view();
  if (const auto* bucket = view_->find_bucket(bucket_->id))
    bucket_ = bucket;
}

size_t conversation::consume(std::string_view input) {
  follow_view();
  size_t used = 0;
  while (used < input.size() && wants_input()) {
    blocked_ = blocked::no;
    auto next = parser_.next(input.substr(used));
    switch (next.what) {
    case request_parser::status::incomplete:
      return used + next.consumed;
    case request_parser::status::error:
      reply_out_of_turn("ERR Protocol error: " + parser_.error_text());
      closing_ = true;
      return input.size();
    case request_parser::status::oversized:
      reply_out_of_turn("TOOBIG an argument of " + std::to_string(parser_.oversized_bytes()) + " bytes, at most " +
                        std::to_string(bulk_bytes_kept_max) + " are allowed");
      break;
    case request_parser::status::command:
      current_bytes_ = next.consumed;
      const auto& args = find_current();
      if (current_ != nullptr && must_wait(*current_, args))
        return used;
      run(args);
      break;
    }
    used += next.consumed;
  }
  return closing_ ? input.size() : used;
}

// @returns its arguments.
const std::vector<std::string_view>& conversation::find_current() {
  const auto& args = parser_.arguments();
  const auto* explained = explained_command(args);
  explaining_ = explained != nullptr;
  current_ = explaining_ ? explained : find_command(args.front());
  if (!explaining_)
    return args;
  explained_args_.assign(args.begin() + 1, args.end());
  return explained_args_;
}

// Hashes the keys, and looks whether the command has to wait for one in flight.
bool conversation::must_wait(const command& c, const std::vector<std::string_view>& args) {
  hashes_.clear();
  if (!arity_fits(c, args.size()))
    return false;
  // A node that has just been started knows nobody yet who would answer; it soon does, or knows that nobody is there.
  if ((c.flags & (flag_readonly | flag_write)) != 0 && (c.flags & flag_refused) == 0 && !env_.ready()) {
    blocked_ = blocked::until_ready;
    return true;
  }
  if (c.first_key > 0) {
    auto last = c.last_key < 0 ? args.size() : static_cast<size_t>(int{c.last_key}) + 1;
    for (auto i = static_cast<size_t>(int{c.first_key}); i < last; i += static_cast<size_t>(int{c.key_step}))
      hashes_.push_back(hash_of(args[i]));
  }
  if (queue_.empty())
    return false;
  if ((c.flags & flag_barrier) != 0 || hashes_.size() > keys_compared_max) {
    blocked_ = blocked::until_drained;
    return true;
  }
  bool write = (c.flags & flag_write) != 0;
  for (auto hash : hashes_) {
    if (locks_.conflicts(hash, write)) {
      blocked_ = blocked::by_key;
      blocked_hash_ = hash;
      blocked_write_ = write;
      return true;
    }
  }
  return false;
}

/// Who came when the node was drained is not served; who came before is, and leaves behind the reply (session.cpp).
bool conversation::is_sent_away() {
  auto of_operator = current_ != nullptr && ((current_->flags & flag_admin) != 0 || current_->run == run_info);
  (of_operator ? asked_by_operator_ : asked_for_data_) = true;
  if (of_operator || !info_.late || !env_.drained())
    return false;
  break_off(env_.drained_text());
  return true;
}

void conversation::run(const std::vector<std::string_view>& args) {
  stats_.commands.add(1);
  if (is_sent_away())
    return;
  asked_ = false;
  bool first = queue_.empty();
  scratch_.clear();
  auto& target = first ? out_ : scratch_;
  auto start = target.size();
  writer out(target, info_.resp3);
  if (current_ == nullptr) {
    unknown_command(args, out);
  } else {
    call c{*this, *current_, args, out};
    if (arity_fits(*current_, args.size()))
      current_->run(c);
    else
      wrong_arity(c, current_->name);
  }
  if (asked_)
    return;
  if (target.size() > start && target[start] == '-')
    stats_.errors.add(1);
  if (!first) {
    pending_command ready;
    ready.done = true;
    ready.text = std::move(scratch_);
    bytes_ready_ += ready.text.size();
    queue_.push(std::move(ready));
  }
}

void conversation::reply_out_of_turn(std::string_view error) {
  scratch_.clear();
  writer(queue_.empty() ? out_ : scratch_).error(error);
  stats_.errors.add(1);
  if (queue_.empty())
    return;
  pending_command ready;
  ready.done = true;
  ready.text = std::move(scratch_);
  bytes_ready_ += ready.text.size();
  queue_.push(std::move(ready));
}

void conversation::unknown_command(const std::vector<std::string_view>& args, writer& out) {
  // A web page that makes a browser post to this port must not get its body executed.
  if (same_word(args[0], "post") || same_word(args[0], "host:")) {
    closing_ = true;
    return;
  }
  constexpr size_t shown_max = 128;
  std::string text =
      "ERR unknown command '" + std::string(args[0].substr(0, shown_max)) + "', with args beginning with: ";
  auto limit = text.size() + shown_max;
  for (size_t i = 1; i < args.size() && text.size() < limit; ++i)
    text.append("'").append(args[i].substr(0, limit - text.size())).append("' ");
  out.error(text);
}

uint64_t conversation::hash_of(std::string_view key) const {
  return std::hash<std::string_view>{}(key) + bucket_->id * 0x9E3779B97F4A7C15U;
}

uint64_t conversation::push(shape how) {
  asked_ = true;
  pending_command command;
  command.how = how;
  command.resp3 = info_.resp3;
  command.write = (current_->flags & flag_write) != 0;
  command.bytes = current_bytes_;
  bytes_in_flight_ += current_bytes_;
  reads_in_flight_ += command.write ? 0 : 1;
  return queue_.push(std::move(command));
}

void conversation::ask(client_request&& request, shape how, vnode_id where) {
  auto sequence = push(how);
  auto& command = queue_.at(sequence);
  command.where = where;
  command.explained = request.explain = explaining_;
  command.locked = true;
  command.hash = hashes_.front();
  locks_.acquire(command.hash, command.write);
  ++outstanding_;
  port_.submit(*this, sequence, 0, std::move(request));
}

void conversation::ask(std::unique_ptr<wide_command> wide, shape how) {
  auto sequence = push(how);
  auto& command = queue_.at(sequence);
  command.locked = true;
  command.wide = std::move(wide);
  command.wide->hashes.swap(hashes_);
  for (auto hash : command.wide->hashes)
    locks_.acquire(hash, command.write);
  send_items(sequence, command);
}

void conversation::ask_status() {
  auto sequence = push(shape::text);
  ++outstanding_;
  port_.ask_status(*this, sequence);
}

void conversation::ask_sync_point(uint64_t id) {
  auto sequence = push(shape::text);
  ++outstanding_;
  port_.sync_point(*this, sequence, id);
}

void conversation::ask_repair(const repair_order& order) {
  auto sequence = push(shape::text);
  ++outstanding_;
  port_.repair(*this, sequence, order);
}

void conversation::ask_topology(topology_order order) {
  auto sequence = push(shape::text);
  ++outstanding_;
  port_.topology(*this, sequence, std::move(order));
}

void conversation::ask_count() {
  auto sequence = push(shape::integer);
  ++outstanding_;
  port_.count_keys(*this, sequence, bucket_->id);
}

void conversation::send_items(uint64_t sequence, pending_command& command) {
  auto& wide = *command.wide;
  auto window = command.write ? wide_command::window : std::min(wide_command::window, read_window_);
  while (wide.next < wide.items.size() && wide.outstanding < window) {
    const auto& item = wide.items[wide.next];
    client_request request;
    request.what = wide.what;
    request.bucket = wide.bucket;
    request.read_first = wide.read_first;
    request.key = wide.key(item);
    request.value = wide.value(item);
    ++wide.outstanding;
    ++outstanding_;
    port_.submit(*this, sequence, static_cast<uint32_t>(wide.next++), std::move(request));
  }
}

void conversation::on_reply(uint64_t sequence, uint32_t part, client_reply&& reply) {
  --outstanding_;
  if (abandoned_)
    return;
  auto& command = queue_.at(sequence);
  if (command.wide) {
    if (!command.write)
      adapt_read_window(reply.values.empty() ? 0 : reply.values.front().value.size());
    collect(*command.wide, command.how, part, reply);
    if (command.wide->failure != errc::ok)
      command.wide->next = command.wide->items.size(); // The reply is an error: no use in going on.
    send_items(sequence, command);
    if (command.wide->outstanding > 0)
      return;
  }
  bool first = sequence == queue_.head();
  auto& target = first ? out_ : command.text;
  auto start = target.size();
  writer out(target, command.resp3);
  if (command.wide)
    write_wide_reply(out, command);
  else
    write_reply(out, command, reply, command.how == shape::ttl_s || command.how == shape::ttl_ms ? env_.now_ms() : 0);
  if (target[start] == '-')
    stats_.errors.add(1);
  if (!command.write) {
    --reads_in_flight_;
    if (!command.wide) // Else it has seen each of the values.
      adapt_read_window(target.size() - start);
  }
  if (!first)
    bytes_ready_ += command.text.size();
  finish(sequence, command);
}

void conversation::adapt_read_window(size_t reply_bytes) {
  if (reply_bytes * read_window_ > read_bytes_expected_max)
    read_window_ = std::max<size_t>(1, read_bytes_expected_max / reply_bytes);
  else if (read_window_ < commands_in_flight_max)
    ++read_window_;
}

// The reply is written, to the output or aside.
void conversation::finish(uint64_t sequence, pending_command& command) {
  command.done = true;
  unlock(command);
  bytes_in_flight_ -= command.bytes;
  if (sequence != queue_.head())
    return;
  queue_.pop();
  while (!queue_.empty() && queue_.front().done) {
    bytes_ready_ -= queue_.front().text.size();
    out_ += queue_.front().text;
    queue_.pop();
  }
}

void conversation::unlock(pending_command& command) {
  if (!command.locked)
    return;
  if (command.wide) {
    for (auto hash : command.wide->hashes)
      locks_.release(hash, command.write);
    command.wide.reset();
  } else {
    locks_.release(command.hash, command.write);
  }
}

void conversation::sent(size_t size) {
  sent_ += size;
  assert(sent_ <= out_.size());
  if (sent_ < out_.size()) {
    if (sent_ > output_bytes_kept && sent_ > out_.size() / 2) { // A slow reader must not make what it has read pile up.
      out_.erase(0, sent_);
      sent_ = 0;
    }
    return;
  }
  sent_ = 0;
  if (out_.capacity() > output_bytes_kept)
    std::string().swap(out_);
  else
    out_.clear();
}

void conversation::abandon() {
  abandoned_ = true;
  queue_.clear();
}

void conversation::select(const protocol::bucket& bucket) {
  if (bucket_ == &bucket)
    return;
  bucket_ = &bucket;
  info_.db = bucket.db;
  publish();
}

void conversation::set_resp3(bool resp3) {
  if (info_.resp3 == resp3)
    return;
  info_.resp3 = resp3;
  publish();
}

} // namespace crema::gateway::resp
