// Waits until a descriptor can really be read.
//
// Asio's epoll_reactor keeps a state per descriptor and uses that of a closed one again at once, also
// while an event of the closed one is queued. So async_wait() may end for an event that was another's,
// wherever connections come and go on the same context; who acts on it must look first.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

namespace mintfs::broker {

// No error when there is something to read, or the end: a pidfd's process has ended, a socket's peer is
// gone. An error when `descriptor` was closed or cancelled; it outlives the wait all the same.
boost::asio::awaitable<boost::system::error_code> wait_readable(boost::asio::posix::stream_descriptor& descriptor);

}  // namespace mintfs::broker
