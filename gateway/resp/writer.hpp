// Writes replies in RESP2 or RESP3 at the end of a string.
#pragma once

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>

namespace crema::gateway::resp {

class writer {
public:
  explicit writer(std::string& out, bool resp3 = false) : out_(&out), resp3_(resp3) {}

  void simple(std::string_view text) { line('+', text); }
  void ok() { out_->append("+OK\r\n"); }
  /// @param text with its code in front: "ERR syntax error".
  void error(std::string_view text) { line('-', text); }
  void integer(int64_t x) { number(':', x); }
  void bulk(std::string_view bytes) {
    number('$', static_cast<int64_t>(bytes.size()));
    out_->append(bytes);
    out_->append("\r\n");
  }
  /// No value.
  void null() { out_->append(resp3_ ? "_\r\n" : "$-1\r\n"); }
  /// No array.
  void null_array() { out_->append(resp3_ ? "_\r\n" : "*-1\r\n"); }
  void array(size_t size) { number('*', static_cast<int64_t>(size)); }
  /// `size` pairs follow.
  void map(size_t size) { number(resp3_ ? '%' : '*', static_cast<int64_t>(resp3_ ? size : 2 * size)); }
  void set(size_t size) { number(resp3_ ? '~' : '*', static_cast<int64_t>(size)); }
  /// Text meant to be shown as it is.
  void verbatim(std::string_view text) {
    if (!resp3_)
      return bulk(text);
    number('=', static_cast<int64_t>(text.size() + 4));
    out_->append("txt:").append(text).append("\r\n");
  }

  bool resp3() const { return resp3_; }
  std::string& out() { return *out_; }

private:
  void line(char type, std::string_view text) {
    out_->push_back(type);
    auto start = out_->size();
    out_->append(text);
    for (auto i = start; i < out_->size(); ++i) // A line break would end the reply.
      if ((*out_)[i] == '\r' || (*out_)[i] == '\n')
        (*out_)[i] = ' ';
    out_->append("\r\n");
  }
  void number(char type, int64_t x) {
    char digits[24];
    digits[0] = type;
    auto* end = std::to_chars(digits + 1, digits + sizeof digits - 2, x).ptr;
    *end++ = '\r';
    *end++ = '\n';
    out_->append(digits, static_cast<size_t>(end - digits));
  }

  std::string* out_;
  bool resp3_;
};

} // namespace crema::gateway::resp
