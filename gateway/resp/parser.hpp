// Commands as clients send them: arrays of bulk strings, and inline commands (a line of words, for telnet).
//
//   *2\r\n$3\r\nGET\r\n$1\r\nk\r\n        GET k\r\n
//
// Incremental and without copies: the caller keeps the bytes of an incomplete command and offers them again, with more
// behind them; the parser remembers how far it got, so no byte is looked at twice. Nothing is allocated for an
// announced length or count before its bytes have arrived.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace crema::gateway::resp {

/// More arguments than this are a protocol error.
constexpr size_t arguments_max = 1048576;
/// A longer bulk string makes its command oversized: its bytes are skipped, and the connection lives on.
constexpr size_t bulk_bytes_kept_max = size_t{16} * 1024 * 1024;
/// More payload than this in one command is a protocol error.
constexpr size_t command_bytes_max = size_t{64} * 1024 * 1024;
constexpr size_t inline_bytes_max = size_t{64} * 1024;

class request_parser {
public:
  enum class status : uint8_t {
    incomplete, ///< Offer the rest of the input again when there is more.
    command,    ///< arguments() are valid while the input is, and until the next call. At least one.
    oversized,  ///< A command with a bulk string above bulk_bytes_kept_max, now skipped.
    error,      ///< error_text() says why; the connection cannot go on.
  };
  struct result {
    status what;
    size_t consumed; ///< Bytes at the front of the input that are done with; for `error` meaningless.
  };

  /// @param input what follows the bytes consumed so far. After a `command` that the caller could not run yet it may
  /// offer the same bytes again: the command is then parsed once more.
  result next(std::string_view input);

  const std::vector<std::string_view>& arguments() const { return arguments_; }
  const std::string& error_text() const { return error_; }
  /// After `oversized`: the length of the longest bulk string.
  size_t oversized_bytes() const { return longest_; }
  /// Memory held by the parser itself (for tests).
  size_t memory() const;

private:
  enum class number_status : uint8_t { ok, incomplete, invalid };
  struct range {
    uint32_t offset, size; // Offsets fit: payload and framing of one command stay far below 4 GiB.
  };
  number_status read_number(std::string_view in, int64_t& number);
  bool read_header(std::string_view in, result& r);
  bool read_bulk(std::string_view in, result& r);
  result read_inline(std::string_view in);
  bool split_inline(std::string_view line);
  result fail(std::string text);
  void reset();

  size_t position_ = 0;  // Of the next byte to look at, from the start of the command.
  size_t left_ = 0;      // Arguments still to come; 0: the header has not been read.
  bool in_bulk_ = false; // The length of the current bulk string is known.
  size_t bulk_size_ = 0; // ... this many bytes of its payload are still to be passed.
  size_t payload_ = 0;   // Announced so far in this command.
  size_t longest_ = 0;
  bool skipping_ = false; // The command is oversized: consume, keep nothing.
  bool finished_ = false; // The last call returned a command: start anew.
  std::vector<range> ranges_;
  std::vector<std::string_view> arguments_;
  std::string inline_; // The words of an inline command, unquoted.
  std::string error_;
};

} // namespace crema::gateway::resp
