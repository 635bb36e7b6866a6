#include "gateway/resp/parser.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <string>
#include <vector>

namespace crema::gateway::resp {
namespace {

using status = request_parser::status;
using words = std::vector<std::string>;

// What a stream of bytes means: its commands in order, oversized ones as {"<oversized>"}, an error as {"<error>",
// text}.
struct outcome {
  std::vector<words> commands;
  friend bool operator==(const outcome& a, const outcome& b) { return a.commands == b.commands; }
  friend std::ostream& operator<<(std::ostream& out, const outcome& x) {
    for (const auto& c : x.commands)
      for (const auto& w : c)
        out << w.substr(0, 40) << (&w == &c.back() ? "; " : " ");
    return out;
  }
};

// Feeds chunks as a connection does: what is consumed goes away, the rest is offered again with more behind it.
class feeder {
public:
  /// @returns false once the stream is in error.
  bool feed(std::string_view chunk) {
    buffer_ += chunk;
    while (!buffer_.empty() || chunk.empty()) {
      auto r = parser_.next(buffer_);
      if (r.what == status::error) {
        result_.commands.push_back({"<error>", parser_.error_text()});
        return false;
      }
      if (r.what == status::command)
        result_.commands.emplace_back(parser_.arguments().begin(), parser_.arguments().end());
      if (r.what == status::oversized)
        result_.commands.push_back({"<oversized>"});
      EXPECT_LE(r.consumed, buffer_.size());
      buffer_.erase(0, r.consumed);
      buffered_max_ = std::max(buffered_max_, buffer_.size());
      if (r.what == status::incomplete)
        return true;
    }
    return true;
  }
  const outcome& result() const { return result_; }
  size_t buffered_max() const { return buffered_max_; }
  size_t memory() const { return parser_.memory(); }

private:
  request_parser parser_;
  std::string buffer_;
  size_t buffered_max_ = 0;
  outcome result_;
};

outcome parse(std::string_view stream) {
  feeder f;
  f.feed(stream);
  return f.result();
}

outcome commands(std::vector<words> expected) { return {std::move(expected)}; }
outcome error(const std::string& text) { return {{{"<error>", text}}}; }

std::string bulk(std::string_view x) { return "$" + std::to_string(x.size()) + "\r\n" + std::string(x) + "\r\n"; }

std::string encode(const words& args) {
  std::string out = "*" + std::to_string(args.size()) + "\r\n";
  for (const auto& x : args)
    out += bulk(x);
  return out;
}

TEST(RequestParser, ReadsArraysOfBulkStrings) {
  EXPECT_EQ(parse("*1\r\n$4\r\nPING\r\n"), commands({{"PING"}}));
  EXPECT_EQ(parse("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*1\r\n$4\r\nPING\r\n"), commands({{"GET", "k"}, {"PING"}}));
}

TEST(RequestParser, TakesAnyByteInABulkString) {
  std::string every;
  for (int i = 0; i < 256; ++i)
    every.push_back(static_cast<char>(i));
  EXPECT_EQ(parse(encode({"SET", every, "\r\n$3\r\n"})), commands({{"SET", every, "\r\n$3\r\n"}}));
  EXPECT_EQ(parse("*1\r\n$0\r\n\r\n"), commands({{""}}));
}

TEST(RequestParser, ReadsInlineCommands) {
  EXPECT_EQ(parse("PING\r\n"), commands({{"PING"}}));
  EXPECT_EQ(parse("  SET  k\tv \n"), commands({{"SET", "k", "v"}}));
  EXPECT_EQ(parse("set k \"a b\\n\\x41\\\"\"\r\n"), commands({{"set", "k", "a b\nA\""}}));
  EXPECT_EQ(parse("set k 'a\\'b \\n'\r\n"), commands({{"set", "k", "a'b \\n"}}));
  EXPECT_EQ(parse("set k ''\r\n"), commands({{"set", "k", ""}}));
}

TEST(RequestParser, IgnoresEmptyLinesAndEmptyArrays) {
  EXPECT_EQ(parse("\r\n\n*0\r\n*-1\r\nPING\r\n"), commands({{"PING"}}));
}

TEST(RequestParser, RefusesWhatIsMalformed) {
  EXPECT_EQ(parse("*x\r\n"), error("invalid multibulk length"));
  EXPECT_EQ(parse("*\r\n"), error("invalid multibulk length"));
  EXPECT_EQ(parse("*1\rx"), error("invalid multibulk length"));
  EXPECT_EQ(parse("*01\r\n"), error("invalid multibulk length"));
  EXPECT_EQ(parse("*+1\r\n"), error("invalid multibulk length"));
  EXPECT_EQ(parse("*1048577\r\n"), error("invalid multibulk length"));
  EXPECT_EQ(parse("*99999999999999999999999\r\n"), error("invalid multibulk length"));
  EXPECT_EQ(parse("*1\r\n:1\r\n"), error("expected '$', got ':'"));
  EXPECT_EQ(parse("*1\r\n\r\n"), error("expected '$', got '?'"));
  EXPECT_EQ(parse("*1\r\n$-1\r\n"), error("invalid bulk length"));
  EXPECT_EQ(parse("*1\r\n$67108865\r\n"), error("invalid bulk length"));
  EXPECT_EQ(parse("*1\r\n$1 \r\n"), error("invalid bulk length"));
  EXPECT_EQ(parse("*1\r\n$4\r\nPINGxx"), error("expected CRLF after bulk string"));
  EXPECT_EQ(parse("set k \"v\r\n"), error("unbalanced quotes in request"));
  EXPECT_EQ(parse("set k \"v\"x\r\n"), error("unbalanced quotes in request"));
  EXPECT_EQ(parse(std::string(inline_bytes_max + 1, 'a')), error("too big inline request"));
  EXPECT_EQ(parse(std::string(inline_bytes_max + 1, 'a') + "\r\n"), error("too big inline request"));
}

TEST(RequestParser, LetsTheCommandsBeforeAnErrorThrough) {
  EXPECT_EQ(parse("PING\r\n*1\r\n$x\r\n"), commands({{"PING"}, {"<error>", "invalid bulk length"}}));
}

TEST(RequestParser, GivesACommandAgainThatTheCallerCouldNotRunYet) {
  request_parser parser;
  auto stream = encode({"GET", "k"});
  for (int i = 0; i < 3; ++i) {
    auto r = parser.next(stream);
    ASSERT_EQ(r.what, status::command);
    EXPECT_EQ(r.consumed, stream.size());
    EXPECT_EQ(parser.arguments(), (std::vector<std::string_view>{"GET", "k"}));
  }
}

TEST(RequestParser, AllocatesNothingForAnnouncementsAlone) {
  feeder f;
  f.feed("*1048576\r\n$67108864\r\n");
  EXPECT_LT(f.memory(), 4096U);
}

TEST(RequestParser, TakesTheLongestBulkStringThatIsKept) {
  words args{"SET", "k", std::string(bulk_bytes_kept_max, 'v')};
  EXPECT_EQ(parse(encode(args)), commands({args}));
}

TEST(RequestParser, SkipsAnOversizedCommandWithoutKeepingIt) {
  feeder f;
  std::string chunk(65536, 'v');
  f.feed("*4\r\n$3\r\nSET\r\n$1\r\nk\r\n$" + std::to_string(bulk_bytes_kept_max + 65536) + "\r\n");
  for (size_t i = 0; i < bulk_bytes_kept_max / chunk.size() + 1; ++i)
    ASSERT_TRUE(f.feed(chunk));
  f.feed("\r\n$2\r\nhi\r\n" + encode({"PING"}));
  EXPECT_EQ(f.result(), commands({{"<oversized>"}, {"PING"}}));
  EXPECT_LE(f.buffered_max(), 2 * chunk.size());
  EXPECT_LT(f.memory(), 4096U);
}

TEST(RequestParser, RefusesMorePayloadThanOneCommandMayHave) {
  feeder f;
  std::string big = bulk(std::string(bulk_bytes_kept_max, 'v'));
  f.feed("*6\r\n$4\r\nMSET\r\n");
  bool alive = true;
  for (int i = 0; i < 5 && alive; ++i)
    alive = f.feed(big);
  EXPECT_FALSE(alive);
  EXPECT_EQ(f.result(), error("command is larger than 67108864 bytes"));
  EXPECT_LE(f.buffered_max(), command_bytes_max + 1024);
}

TEST(RequestParser, GivesTheMemoryOfALargeCommandBack) {
  feeder f;
  f.feed(encode(words(200000, "x")));
  EXPECT_GT(f.memory(), 200000U);
  f.feed(encode({"PING"}));
  EXPECT_LT(f.memory(), 65536U);
  EXPECT_EQ(f.result().commands.back(), words{"PING"});
}

// Streams with commands of both kinds; sometimes damaged.
rc::Gen<std::string> streams() {
  auto word = rc::gen::container<std::string>(rc::gen::arbitrary<char>());
  auto array = rc::gen::map(rc::gen::nonEmpty(rc::gen::container<words>(word)), encode);
  auto line = rc::gen::map(rc::gen::container<std::string>(rc::gen::elementOf(std::string("ab \"'\\x\r1"))),
                           [](const std::string& x) { return x + "\r\n"; });
  auto odd =
      rc::gen::element<std::string>("*0\r\n", "*-1\r\n", "\r\n", "*1\r\n", "$1\r\n", "*2", "*1\r\n$18000000\r\n");
  return rc::gen::map(rc::gen::container<words>(rc::gen::weightedOneOf<std::string>({{6, array}, {3, line}, {1, odd}})),
                      [](const words& parts) {
                        std::string all;
                        for (const auto& x : parts)
                          all += x;
                        return all;
                      });
}

TEST(RequestParser, MeansTheSameHoweverTheStreamIsSplit) {
  EXPECT_TRUE(rc::check([] {
    auto stream = *streams();
    auto whole = parse(stream);
    feeder split;
    std::string_view rest = stream;
    while (!rest.empty()) {
      auto size = std::min<size_t>(rest.size(), *rc::gen::inRange<size_t>(1, 12));
      if (!split.feed(rest.substr(0, size)))
        break;
      rest.remove_prefix(size);
    }
    RC_ASSERT(split.result() == whole);
  }));
}

TEST(RequestParser, ReturnsEveryCommandThatWasEncoded) {
  EXPECT_TRUE(rc::check([](const std::vector<words>& given) {
    outcome expected;
    std::string stream;
    for (const auto& x : given) {
      stream += encode(x);
      if (!x.empty())
        expected.commands.push_back(x);
    }
    RC_ASSERT(parse(stream) == expected);
  }));
}

TEST(RequestParser, StaysSmallWhateverTheBytes) {
  EXPECT_TRUE(rc::check([] {
    auto alphabet = std::string("*$0123456789-\r\n\"' a");
    auto bytes =
        *rc::gen::container<std::string>(rc::gen::oneOf(rc::gen::elementOf(alphabet), rc::gen::arbitrary<char>()));
    feeder f;
    f.feed(bytes);
    RC_ASSERT(f.buffered_max() <= bytes.size());
    RC_ASSERT(f.memory() < 4096U + 64 * bytes.size());
  }));
}

} // namespace
} // namespace crema::gateway::resp
