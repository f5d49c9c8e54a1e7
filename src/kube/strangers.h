// Bounds how often the API server is asked about bearers that nobody has vouched for.
//
// Any pod may come to the lease desk and show whatever it likes, and each of that is a TokenReview. What turns out to
// be nobody's is bounded, for each address and in all. What turns out to be a node's costs nothing, and is asked about
// whenever it comes again: strangers keep no node out that is known. A bearer is known by its digest, which gives no
// right: the API server is asked all the same. Of the context's thread.
#pragma once

#include "broker/secret.h"

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>

namespace mintfs::kube {

class Strangers {
 public:
  using Monotonic = std::chrono::steady_clock::time_point;
  // So many at once, and then so many a second.
  struct Bound {
    double at_once;
    double each_second;
  };
  struct Settings {
    Bound of_address{64, 2};
    Bound in_all{1024, 100};
    std::function<Monotonic()> now = [] { return std::chrono::steady_clock::now(); };
  };
  struct Question {
    std::string digest;
    std::string address;
    bool counted;
  };
  static constexpr std::size_t kMostAddresses = 4096;  // beyond, the bound in all is the only one
  static constexpr std::size_t kMostKnown = 64 * 1024;

  explicit Strangers(Settings settings);

  // Nothing: not now.
  std::optional<Question> ask(const broker::Secret& bearer, const std::string& address);
  // What came of it. Where nobody could be asked nothing did, and it stays counted.
  void is_node(const Question& question);
  void is_nobody(const Question& question);

 private:
  struct Left {
    double count;
    Monotonic when;
  };
  Left* left_of(const std::string& address, Monotonic now);
  static Left refilled(const Left& left, const Bound& bound, Monotonic now);

  Settings settings_;
  Left in_all_;
  std::unordered_map<std::string, Left> of_address_;
  // Those of the last kMostKnown; tokens end, and others come.
  std::unordered_set<std::string> known_, known_before_;
};

}  // namespace mintfs::kube
