#include "broker/readiness.h"

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <poll.h>

namespace mintfs::broker {

namespace asio = boost::asio;

asio::awaitable<boost::system::error_code> wait_readable(asio::posix::stream_descriptor& descriptor) {
  while (true) {
    boost::system::error_code error;
    co_await descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                                   asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return error;
    pollfd now{.fd = descriptor.native_handle(), .events = POLLIN, .revents = 0};
    if (::poll(&now, 1, 0) != 0) co_return error;
  }
}

}  // namespace mintfs::broker
