#include "gateway/resp/parser.hpp"

#include <algorithm>
#include <cassert>
#include <cctype>

namespace crema::gateway::resp {

namespace {

// Longer than any number that is allowed, with sign and prefix.
constexpr size_t number_bytes_max = 20;
// Ranges beyond this are given back after the command.
constexpr size_t ranges_kept = 1024;

int hex_digit(char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  auto lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

bool is_space(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }

// As Redis quotes: escapes inside double quotes. `i` is at the character after the backslash.
char unescape(std::string_view line, size_t& i) {
  switch (line[i]) {
  case 'n':
    return '\n';
  case 'r':
    return '\r';
  case 't':
    return '\t';
  case 'b':
    return '\b';
  case 'a':
    return '\a';
  case 'x':
    if (i + 2 < line.size() && hex_digit(line[i + 1]) >= 0 && hex_digit(line[i + 2]) >= 0) {
      i += 2;
      return static_cast<char>(hex_digit(line[i - 1]) * 16 + hex_digit(line[i]));
    }
    return 'x';
  default:
    return line[i];
  }
}

} // namespace

request_parser::result request_parser::next(std::string_view input) {
  if (finished_)
    reset();
  result r{status::incomplete, 0};
  for (;;) {
    auto in = input.substr(r.consumed);
    if (left_ == 0) {
      if (in.empty())
        return r;
      if (in.front() != '*') {
        auto line = read_inline(in);
        r = {line.what, r.consumed + line.consumed};
        if (line.what == status::incomplete && line.consumed > 0)
          continue; // An empty line.
        return r;
      }
      if (!read_header(in, r))
        return r;
      if (left_ == 0)
        continue; // An empty array.
      in = input.substr(r.consumed);
    }
    while (left_ > 0) {
      if (!read_bulk(in, r)) {
        if (skipping_ && r.what == status::incomplete) {
          r.consumed += position_;
          position_ = 0;
        }
        return r;
      }
    }
    r.what = skipping_ ? status::oversized : status::command;
    r.consumed += position_;
    if (!skipping_)
      for (auto [offset, size] : ranges_)
        arguments_.push_back(in.substr(offset, size));
    finished_ = true;
    return r;
  }
}

// Reads "<digits>\r\n" at position_ + 1. The verdict depends on the bytes only, not on how they were split.
request_parser::number_status request_parser::read_number(std::string_view in, int64_t& number) {
  size_t i = position_ + 1;
  bool negative = false;
  if (i < in.size() && in[i] == '-') {
    negative = true;
    ++i;
  }
  auto first = i;
  int64_t value = 0;
  for (; i < in.size() && in[i] >= '0' && in[i] <= '9'; ++i) {
    if (i - first >= number_bytes_max - 2 || (i > first && in[first] == '0'))
      return number_status::invalid; // Too long, or a leading zero.
    value = value * 10 + (in[i] - '0');
  }
  if (i == in.size())
    return number_status::incomplete;
  if (i == first || in[i] != '\r' || (negative && in[first] == '0'))
    return number_status::invalid;
  if (i + 1 == in.size())
    return number_status::incomplete;
  if (in[i + 1] != '\n')
    return number_status::invalid;
  number = negative ? -value : value;
  position_ = i + 2;
  return number_status::ok;
}

// @returns false if `r` is to be returned.
bool request_parser::read_header(std::string_view in, result& r) {
  assert(position_ == 0);
  int64_t count = 0;
  switch (read_number(in, count)) {
  case number_status::incomplete:
    r.what = status::incomplete;
    return false;
  case number_status::invalid:
    r = fail("invalid multibulk length");
    return false;
  case number_status::ok:
    break;
  }
  if (count > static_cast<int64_t>(arguments_max)) {
    r = fail("invalid multibulk length");
    return false;
  }
  if (count <= 0) { // Redis ignores it as well.
    r.consumed += position_;
    position_ = 0;
    return true;
  }
  left_ = static_cast<size_t>(count);
  return true;
}

// Reads the rest of one bulk string. @returns false if `r` is to be returned.
bool request_parser::read_bulk(std::string_view in, result& r) {
  if (!in_bulk_) {
    if (position_ == in.size()) {
      r.what = status::incomplete;
      return false;
    }
    if (in[position_] != '$') {
      auto c = in[position_];
      r = fail(std::string("expected '$', got '") + (std::isprint(static_cast<unsigned char>(c)) != 0 ? c : '?') + "'");
      return false;
    }
    int64_t size = 0;
    auto parsed = read_number(in, size);
    if (parsed == number_status::incomplete) {
      r.what = status::incomplete;
      return false;
    }
    if (parsed == number_status::invalid || size < 0 || size > static_cast<int64_t>(command_bytes_max)) {
      r = fail("invalid bulk length");
      return false;
    }
    bulk_size_ = static_cast<size_t>(size);
    payload_ += bulk_size_;
    if (payload_ > command_bytes_max) {
      r = fail("command is larger than " + std::to_string(command_bytes_max) + " bytes");
      return false;
    }
    if (bulk_size_ > bulk_bytes_kept_max) {
      skipping_ = true;
      std::vector<range>().swap(ranges_);
    }
    longest_ = std::max(longest_, bulk_size_);
    in_bulk_ = true;
  }
  auto available = in.size() - position_;
  if (skipping_) {
    auto passed = std::min(available, bulk_size_);
    position_ += passed;
    bulk_size_ -= passed;
    available -= passed;
  }
  if (available < bulk_size_ + 2) {
    r.what = status::incomplete;
    return false;
  }
  if (in[position_ + bulk_size_] != '\r' || in[position_ + bulk_size_ + 1] != '\n') {
    r = fail("expected CRLF after bulk string");
    return false;
  }
  if (!skipping_)
    ranges_.push_back({static_cast<uint32_t>(position_), static_cast<uint32_t>(bulk_size_)});
  position_ += bulk_size_ + 2;
  in_bulk_ = false;
  --left_;
  return true;
}

request_parser::result request_parser::read_inline(std::string_view in) {
  auto end = in.find('\n', position_);
  if ((end == std::string_view::npos ? in.size() : end) > inline_bytes_max)
    return fail("too big inline request");
  if (end == std::string_view::npos) {
    position_ = in.size();
    return {status::incomplete, 0};
  }
  auto line = in.substr(0, end);
  if (!line.empty() && line.back() == '\r')
    line.remove_suffix(1);
  if (!split_inline(line))
    return fail("unbalanced quotes in request");
  position_ = 0;
  if (ranges_.empty())
    return {status::incomplete, end + 1};
  for (auto [offset, size] : ranges_)
    arguments_.push_back(std::string_view(inline_).substr(offset, size));
  finished_ = true;
  return {status::command, end + 1};
}

// Words, with 'single' and "double" quotes as redis-cli understands them. @returns false on unbalanced quotes.
bool request_parser::split_inline(std::string_view line) {
  size_t i = 0;
  for (;;) {
    while (i < line.size() && is_space(line[i]))
      ++i;
    if (i == line.size())
      return true;
    auto start = inline_.size();
    char quote = 0;
    for (; i < line.size(); ++i) {
      auto c = line[i];
      if (quote == 0) {
        if (is_space(c))
          break;
        if (c == '"' || c == '\'')
          quote = c;
        else
          inline_.push_back(c);
      } else if (c == quote) {
        if (i + 1 < line.size() && !is_space(line[i + 1]))
          return false; // A closing quote ends its word.
        quote = 0;
      } else if (c == '\\' && i + 1 < line.size() && (quote == '"' || line[i + 1] == '\'')) {
        ++i;
        inline_.push_back(quote == '"' ? unescape(line, i) : '\'');
      } else {
        inline_.push_back(c);
      }
    }
    if (quote != 0)
      return false;
    ranges_.push_back({static_cast<uint32_t>(start), static_cast<uint32_t>(inline_.size() - start)});
  }
}

request_parser::result request_parser::fail(std::string text) {
  error_ = std::move(text);
  return {status::error, 0};
}

void request_parser::reset() {
  position_ = left_ = bulk_size_ = payload_ = longest_ = 0;
  in_bulk_ = skipping_ = finished_ = false;
  ranges_.clear();
  arguments_.clear();
  inline_.clear();
  if (ranges_.capacity() > ranges_kept || arguments_.capacity() > ranges_kept) {
    std::vector<range>().swap(ranges_);
    std::vector<std::string_view>().swap(arguments_);
  }
  if (inline_.capacity() > ranges_kept)
    std::string().swap(inline_);
}

size_t request_parser::memory() const {
  return ranges_.capacity() * sizeof(range) + arguments_.capacity() * sizeof(std::string_view) + inline_.capacity() +
         error_.capacity();
}

} // namespace crema::gateway::resp
