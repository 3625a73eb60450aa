#include "base/excerpt.h"

#include <gtest/gtest.h>

namespace nanochat {
namespace {

TEST(Excerpt, IsShortPrintableUtf8) {
  EXPECT_EQ(excerpt("plain é"), "plain é");
  EXPECT_EQ(excerpt(std::string("a\0b\n\x7f", 5)), "a\\x00b\\x0a\\x7f");
  EXPECT_EQ(excerpt("\xff!"), "\xef\xbf\xbd!");
  EXPECT_EQ(excerpt("éé", 3), "é...") << "the cut does not split a sequence";
  EXPECT_EQ(excerpt("abc", 3), "abc");
}

}  // namespace
}  // namespace nanochat
