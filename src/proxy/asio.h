// The Asio types of the proxy: one thread runs one io_context, so the executor is the concrete one
// and its coroutines and sockets carry no type-erased executor about.
#pragma once

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/error_code.hpp>

#include <chrono>

namespace mintfs::proxy {

namespace asio = boost::asio;
using boost::system::error_code;

using Executor = asio::io_context::executor_type;
using Tcp = asio::ip::tcp;
// TCP or Unix: what differs is asked where connections begin.
using StreamProtocol = asio::generic::stream_protocol;
using Socket = asio::basic_stream_socket<StreamProtocol, Executor>;
using Timer =
    asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, Executor>;

template <class T>
using Awaitable = asio::awaitable<T, Executor>;

// Errors come back as values: nothing on the data path throws.
inline constexpr asio::as_tuple_t<asio::use_awaitable_t<Executor>> as_tuple{};
inline constexpr asio::use_awaitable_t<Executor> use_awaitable{};

}  // namespace mintfs::proxy
