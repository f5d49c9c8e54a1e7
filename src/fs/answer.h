// What the file system answers: a value or an errno.
#pragma once

#include "broker/error.h"

#include <boost/system/result.hpp>

#include <system_error>

namespace mintfs::fs {

template <class T>
using Answer = boost::system::result<T, std::errc>;

// EACCES where the lease does not admit, EIO where no token can be made. Never ENOENT: to git that
// is fatal after a good lookup.
std::errc to_errno(broker::Errc error) noexcept;
// The reason under which an open that failed so is counted.
broker::Errc to_reason(std::errc error) noexcept;

}  // namespace mintfs::fs
