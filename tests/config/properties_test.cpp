// Laws: no input crashes the parser, and an agreement does not depend on the order of things in the file.
#include "tests/config/config_documents.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>

using namespace crema::config;
using namespace crema::config::test;
using nlohmann::json;

namespace {

/// Either a configuration or a reason why not.
void check_is_decided(const std::string& text) {
  auto result = parse_config(text, "test.json");
  RC_ASSERT(result.config.has_value() == result.problems.empty());
  for (const auto& p : result.problems)
    RC_ASSERT(!p.what.empty());
}

/// The paths of all values, containers included.
void collect_pointers(const json& value, const json::json_pointer& at, std::vector<json::json_pointer>& found) {
  found.push_back(at);
  if (value.is_object())
    for (const auto& [name, child] : value.items())
      collect_pointers(child, at / name, found);
  if (value.is_array())
    for (size_t i = 0; i < value.size(); ++i)
      collect_pointers(value[i], at / i, found);
}

json arbitrary_value() {
  switch (*rc::gen::inRange(0, 8)) {
  case 0:
    return nullptr;
  case 1:
    return *rc::gen::arbitrary<bool>();
  case 2:
    return *rc::gen::arbitrary<int64_t>();
  case 3:
    return *rc::gen::arbitrary<uint64_t>();
  case 4:
    return 0.5 * *rc::gen::inRange(-10, 10);
  case 5:
    return json::array({1, "a", json::object()});
  case 6:
    return json{{"name", "x"}, {"n", 1}};
  default:
    return *rc::gen::container<std::string>(rc::gen::inRange<char>(' ', '~'));
  }
}

/// Writes a document with the members of every object in random order.
std::string shuffled(const json& value) {
  std::string result;
  if (value.is_object()) {
    std::vector<std::string> members;
    for (const auto& [name, child] : value.items())
      members.push_back(json(name).dump() + ":" + shuffled(child));
    for (size_t i = members.size(); i > 1; --i)
      std::swap(members[i - 1], members[*rc::gen::inRange<size_t>(0, i)]);
    for (const auto& member : members)
      result += (result.empty() ? "" : ",") + member;
    return "{" + result + "}";
  }
  if (value.is_array()) {
    for (const auto& child : value)
      result += (result.empty() ? "" : ",") + shuffled(child);
    return "[" + result + "]";
  }
  return value.dump();
}

} // namespace

TEST(ConfigProperties, ArbitraryBytesAreRefusedInWords) {
  EXPECT_TRUE(rc::check([](const std::string& bytes) { check_is_decided(bytes); }));
}

TEST(ConfigProperties, ADocumentWithDamagedBytesIsDecided) {
  EXPECT_TRUE(rc::check([] {
    auto text = valid_document().dump();
    auto edits = *rc::gen::inRange(1, 6);
    for (int i = 0; i < edits; ++i) {
      auto at = *rc::gen::inRange<size_t>(0, text.size());
      switch (*rc::gen::inRange(0, 4)) {
      case 0:
        text[at] = *rc::gen::arbitrary<char>();
        break;
      case 1:
        text.erase(at, *rc::gen::inRange<size_t>(1, 20));
        break;
      case 2:
        text.insert(at, 1, *rc::gen::element('"', '{', '}', '[', ']', ',', ':', '0', '\\'));
        break;
      default:
        text.resize(at + 1);
        break;
      }
    }
    check_is_decided(text);
  }));
}

TEST(ConfigProperties, ADocumentWithReplacedValuesIsDecided) {
  EXPECT_TRUE(rc::check([] {
    auto document = valid_document();
    auto edits = *rc::gen::inRange(1, 6);
    for (int i = 0; i < edits; ++i) {
      std::vector<json::json_pointer> pointers;
      collect_pointers(document, json::json_pointer{}, pointers);
      document[*rc::gen::elementOf(pointers)] = arbitrary_value();
    }
    check_is_decided(document.dump(-1, ' ', false, json::error_handler_t::replace));
  }));
}

TEST(ConfigProperties, AProblemOfOneFieldIsReportedAtThatField) {
  EXPECT_TRUE(rc::check([] {
    auto document = valid_document();
    auto node = *rc::gen::inRange<size_t>(0, 3);
    auto field = *rc::gen::element<std::string>("peer_port", "resp_port", "http_port", "weight");
    auto value = *rc::gen::oneOf(rc::gen::inRange<int64_t>(-1000000, 1), rc::gen::inRange<int64_t>(65536, 1000000));
    document["nodes"][node][field] = value;
    auto result = parse_config(document.dump(), "test.json");
    RC_ASSERT(result.problems.size() == 1U);
    RC_ASSERT(result.problems[0].path == "nodes[" + std::to_string(node) + "]." + field);
    RC_ASSERT(result.problems[0].what == std::to_string(value) + " is out of range");
  }));
}

TEST(ConfigProperties, TheFingerprintDoesNotDependOnTheOrderOfNodesBucketsOrFields) {
  auto original = fingerprint(*parse_config(valid_document().dump(), "test.json").config);
  EXPECT_TRUE(rc::check([original] {
    auto document = valid_document();
    for (const auto* list : {"nodes", "buckets"}) {
      auto& elements = document[list];
      for (size_t i = elements.size(); i > 1; --i)
        std::swap(elements[i - 1], elements[*rc::gen::inRange<size_t>(0, i)]);
    }
    auto result = parse_config(shuffled(document), "other.json");
    RC_ASSERT(result.config.has_value());
    RC_ASSERT(fingerprint(*result.config) == original);
  }));
}
