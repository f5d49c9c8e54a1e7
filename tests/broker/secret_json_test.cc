#include "broker/secret_json.h"

#include <gtest/gtest.h>
#include <boost/json.hpp>

#include <string>

namespace mintfs::broker {
namespace {

TEST(SecretJson, ComesBackAsItWasWritten) {
  boost::json::object object = secret_object();
  const std::string password = std::string(5000, 'x') + "\"\\\n\xff\xc3\xa4";  // longer than a piece, not UTF-8
  object["password"] = password;
  object["number"] = 7;
  const auto read = parse_secret_json(serialize_secret(object).reveal());
  ASSERT_TRUE(read);
  EXPECT_EQ(*read, boost::json::value(object));
  EXPECT_EQ(read->at("password").as_string(), boost::json::string_view(password));
}

TEST(SecretJson, ThatIsNoneIsRefused) {
  for (const auto* text : {"", "{", "{} x", "{\"a\":}", "nul"}) EXPECT_FALSE(parse_secret_json(text)) << text;
}

}  // namespace
}  // namespace mintfs::broker
