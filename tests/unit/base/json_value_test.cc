#include "base/json_value.h"

#include <cmath>
#include <limits>
#include <type_traits>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/json.h"

namespace nanochat {
namespace {

template <class F>
std::string internal_error(F&& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.status()), static_cast<int>(Status::internal));
    return error.message();
  }
  return "(no error)";
}

static_assert(std::is_nothrow_default_constructible_v<Json> && std::is_nothrow_move_constructible_v<Json> &&
              std::is_nothrow_destructible_v<Json>);

TEST(JsonValue, KnowsWhatItIs) {
  const std::pair<Json, const char*> cases[] = {{{}, "null"},
                                                {nullptr, "null"},
                                                {true, "boolean"},
                                                {-1, "number"},
                                                {7u, "number"},
                                                {0.5F, "number"},
                                                {"text", "string"},
                                                {std::string_view("text"), "string"},
                                                {{{"k", 1}}, "object"},
                                                {Json::array(), "array"},
                                                {Json::object(), "object"},
                                                {std::vector<int>{1, 2}, "array"}};
  for (const auto& [value, name] : cases) {
    EXPECT_STREQ(value.type_name(), name);
    EXPECT_EQ(value.is_null() + value.is_boolean() + value.is_number() + value.is_string() +
                  value.is_array() + value.is_object(),
              1);
  }
  EXPECT_TRUE(Json(7u).is_number_unsigned());
  EXPECT_FALSE(Json(7).is_number_unsigned());
  EXPECT_TRUE(Json(7).is_number_integer() && Json(7u).is_number_integer() && Json(7.0).is_number_float());
}

TEST(JsonValue, ConvertsNumbersByValue) {
  EXPECT_EQ(Json(7u).get<int32_t>(), 7);
  EXPECT_EQ(Json(7).get<uint8_t>(), 7);
  EXPECT_EQ(Json(INT64_MIN).get<int64_t>(), INT64_MIN);
  EXPECT_EQ(Json(UINT64_MAX).get<uint64_t>(), UINT64_MAX);
  EXPECT_EQ(Json(-3).get<double>(), -3.0);
  EXPECT_EQ(Json(0.25F).get<double>(), 0.25);
  EXPECT_EQ(Json::array({1, 2u, -3}).get<std::vector<int>>(), (std::vector<int>{1, 2, -3}));
  EXPECT_EQ(Json::array({"a", "b"}).get<std::vector<std::string>>(), (std::vector<std::string>{"a", "b"}));
}

TEST(JsonValue, ThrowsWhenAskedForWhatItIsNot) {
  EXPECT_NE(internal_error([] { Json("x").get<int>(); }).find("is string, expected an integer"),
            std::string::npos);
  EXPECT_NE(internal_error([] { Json(1.5).get<int>(); }), "(no error)");
  EXPECT_NE(internal_error([] { Json(300).get<uint8_t>(); }), "(no error)");
  EXPECT_NE(internal_error([] { Json(-1).get<uint64_t>(); }), "(no error)");
  EXPECT_NE(internal_error([] { Json(UINT64_MAX).get<int64_t>(); }), "(no error)");
  EXPECT_NE(internal_error([] { Json(1).get<bool>(); }), "(no error)");
  EXPECT_NE(internal_error([] { Json(true).get<double>(); }), "(no error)");
  EXPECT_NE(internal_error([] { Json(1).get_ref<const std::string&>(); }), "(no error)");
  EXPECT_NE(internal_error([] { Json(1).items(); }), "(no error)");
  EXPECT_NE(internal_error([] { Json::object().begin(); }), "(no error)");
  EXPECT_NE(internal_error([] { Json::array({1}).at(1); }).find("1 elements, asked for number 1"),
            std::string::npos);
  EXPECT_NE(internal_error([] { Json::object().at("k"); }).find("no key 'k'"), std::string::npos);
  EXPECT_NE(internal_error([] { Json(1)["k"] = 2; }), "(no error)");
  EXPECT_NE(internal_error([] { Json(1).push_back(2); }), "(no error)");
}

TEST(JsonValue, FindsOnlyInObjects) {
  const Json object = {{"a", 1}, {"b", nullptr}};
  ASSERT_NE(object.find("a"), nullptr);
  EXPECT_EQ(*object.find("a"), 1);
  EXPECT_TRUE(object.contains("b"));
  EXPECT_FALSE(object.contains("c"));
  for (const Json& other : {Json(), Json(1), Json("a"), Json::array({"a"})})
    EXPECT_EQ(other.find("a"), nullptr);
}

TEST(JsonValue, GrowsInTheOrderOfWriting) {
  Json json;
  json["z"] = 1;
  json["a"]["inner"] = Json::array({1, Json::array()});
  json["list"].push_back(true);
  json["list"].emplace_back("x") = "y";
  json["z"] = 2;
  json["gone"] = 3;
  json.erase("gone");
  json.erase("never there");
  EXPECT_EQ(write_json(json), R"({"z":2,"a":{"inner":[1,[]]},"list":[true,"y"]})");
  EXPECT_EQ(json.size(), 3U);
  EXPECT_EQ(Json().size(), 0U);
  EXPECT_EQ(Json("text").size(), 1U);
}

TEST(JsonValue, MayBeReplacedByAPartOfItself) {
  Json json = {{"inner", {{"list", Json::array({1, "a text that is too long to be kept inline"})}}}};
  json = json["inner"];
  EXPECT_EQ(write_json(json), R"({"list":[1,"a text that is too long to be kept inline"]})");
  json = std::move(json["list"]);
  EXPECT_EQ(json.size(), 2U);
  json = json[1];
  EXPECT_EQ(json, "a text that is too long to be kept inline");
}

TEST(JsonValue, ComparesNumbersByValueAndObjectsInOrder) {
  EXPECT_EQ(Json(1), Json(1u));
  EXPECT_EQ(Json(1u), Json(1.0));
  EXPECT_NE(Json(-1), Json(UINT64_MAX));
  EXPECT_NE(Json(INT64_MIN), Json(uint64_t{1} << 63));
  EXPECT_NE(Json(1), Json(true));
  EXPECT_NE(Json(0), Json(nullptr));
  EXPECT_EQ((Json{{"a", 1}, {"b", 2}}), (Json{{"a", 1u}, {"b", 2.0}}));
  EXPECT_NE((Json{{"a", 1}, {"b", 2}}), (Json{{"b", 2}, {"a", 1}}));
}

TEST(JsonValue, CopiesAndDropsTheDeepestDocument) {
  std::string text;
  for (int i = 0; i < 64; ++i) text += "[{\"k\":";
  text += "1";
  for (int i = 0; i < 64; ++i) text += "}]";
  const Json deep = parse_json(text, "deep");
  Json copy = deep;
  EXPECT_EQ(copy, deep);
  Json moved = std::move(copy);
  EXPECT_EQ(write_json(moved), text);
}

std::string written(double value) { return write_json(Json(value)); }

TEST(JsonNumbers, AreWrittenShortestAndStayFloats) {
  const std::pair<double, const char*> cases[] = {
      {0.0, "0.0"},           {-0.0, "-0.0"},
      {2.0, "2.0"},           {-15.0, "-15.0"},
      {0.1, "0.1"},           {1.0 / 3.0, "0.3333333333333333"},
      {0.0001, "0.0001"},     {0.00001, "1e-05"},
      {100000.0, "100000.0"}, {999999999999999.0, "999999999999999.0"},
      {1e15, "1e+15"},        {1e308, "1e+308"},
      {5e-324, "5e-324"},     {std::numeric_limits<double>::max(), "1.7976931348623157e+308"}};
  for (const auto& [value, text] : cases) EXPECT_EQ(written(value), text);
  EXPECT_EQ(written(std::nan("")), "null");
  EXPECT_EQ(written(-HUGE_VAL), "null");
}

TEST(JsonNumbers, ReadBackExactly) {
  for (const double value : {0.1, 1e308, 5e-324, 2.2250738585072014e-308, 123456789.123456789, 1e22,
                             9007199254740993.0, -1e-4, 4.35, 1e15, 123456789012345680.0}) {
    const Json again = parse_json(written(value), "number");
    EXPECT_TRUE(again.is_number_float()) << written(value);
    EXPECT_EQ(again.get<double>(), value) << written(value);
  }
  const Json zero = parse_json(written(-0.0), "number");
  EXPECT_TRUE(std::signbit(zero.get<double>()));
  for (const Json& value : {Json(INT64_MIN), Json(INT64_MAX), Json(UINT64_MAX), Json(0), Json(-1)}) {
    const Json again = parse_json(write_json(value), "number");
    EXPECT_TRUE(again.is_number_integer());
    EXPECT_EQ(again, value);
  }
}

TEST(JsonText, EscapesOnlyWhatItMust) {
  EXPECT_EQ(write_json(Json("\"\\/\b\f\n\r\t\x01\x1f\x7f \u00e9\U0001F600")),
            "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f \u00e9\U0001F600\"");
  EXPECT_EQ(write_json(Json(std::string("a\0b", 3))), "\"a\\u0000b\"");
  EXPECT_EQ(write_json({{"k\n", 1}}), "{\"k\\n\":1}");
  EXPECT_EQ(write_json(Json("a\xe2\x82")), "\"a\xef\xbf\xbd\"");
}

TEST(JsonText, IsIndentedByTheStepAskedFor) {
  const Json json = {{"a", Json::array({1, Json::array()})}, {"b", {{"c", nullptr}}}, {"d", Json::object()}};
  EXPECT_EQ(write_json(json, 2),
            "{\n  \"a\": [\n    1,\n    []\n  ],\n  \"b\": {\n    \"c\": null\n  },\n  \"d\": {}\n}");
  EXPECT_EQ(write_json(json, 0), "{\n\"a\": [\n1,\n[]\n],\n\"b\": {\n\"c\": null\n},\n\"d\": {}\n}");
  EXPECT_EQ(write_json(json), R"({"a":[1,[]],"b":{"c":null},"d":{}})");
}

}  // namespace
}  // namespace nanochat
