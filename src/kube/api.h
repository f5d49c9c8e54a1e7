// The API server as the rest of this folder sees it: objects asked for, objects streamed.
//
// JSON that comes from here lives in memory that wipes itself: it may be a Secret. Everything is of the
// one thread that runs the context.
#pragma once

#include "broker/secret.h"
#include "kube/failure.h"

#include <boost/asio/awaitable.hpp>
#include <boost/json/object.hpp>

#include <cstdint>
#include <memory>
#include <string>

namespace mintfs::kube {

struct Call {
  enum class Method : std::uint8_t { get, post, merge_patch, put, remove };

  Method method = Method::get;
  std::string target;     // path and query, encoded
  broker::Secret body{};  // JSON; a TokenReview carries a token
  // Asked again, once, where a kept connection turns out to have ended. A review is: it changes nothing.
  bool repeatable = false;
};

// The events of one watch, in order.
class Stream {
 public:
  virtual ~Stream() = default;
  // ended: the server has closed it in good order; any other failure: it broke, mid-event perhaps.
  virtual boost::asio::awaitable<Outcome<boost::json::object>> next() = 0;
};

class Api {
 public:
  virtual ~Api() = default;
  virtual boost::asio::awaitable<Outcome<boost::json::object>> send(Call call) = 0;
  virtual boost::asio::awaitable<Outcome<std::unique_ptr<Stream>>> watch(std::string target) = 0;
};

// One value of a query, and one segment of a path: all but unreserved characters (RFC 3986) encoded.
std::string percent_encode(std::string_view text);

}  // namespace mintfs::kube
