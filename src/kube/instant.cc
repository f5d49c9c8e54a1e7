#include "kube/instant.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>

namespace mintfs::kube {
namespace {

using namespace std::chrono;

std::string write(broker::Time time, bool micro) {
  const auto day = floor<days>(time);
  const year_month_day date(day);
  const hh_mm_ss clock(time - day);
  std::array<char, 40> text;
  int size = std::snprintf(text.data(), text.size(), "%04d-%02u-%02uT%02d:%02d:%02d", static_cast<int>(date.year()),
                           static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                           static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                           static_cast<int>(clock.seconds().count()));
  std::string written(text.data(), static_cast<std::size_t>(size));
  if (micro) {
    size = std::snprintf(text.data(), text.size(), ".%03d000", static_cast<int>(clock.subseconds().count()));
    written.append(text.data(), static_cast<std::size_t>(size));
  }
  return written + "Z";
}

std::optional<int> digits(std::string_view text) {
  int value = 0;
  if (!std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; })) return std::nullopt;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace

std::string rfc3339(broker::Time time) { return write(time, false); }

std::string rfc3339_micro(broker::Time time) { return write(time, true); }

std::optional<broker::Time> parse_rfc3339(std::string_view text) {
  constexpr std::string_view kForm = "dddd-dd-ddTdd:dd:dd";
  if (text.size() < kForm.size() + 1 || text.back() != 'Z') return std::nullopt;
  for (std::size_t i = 0; i < kForm.size(); ++i)
    if (kForm[i] != 'd' && kForm[i] != text[i]) return std::nullopt;
  const auto part = [&](std::size_t at, std::size_t size) { return digits(text.substr(at, size)); };
  const auto y = part(0, 4), mo = part(5, 2), d = part(8, 2), h = part(11, 2), mi = part(14, 2), s = part(17, 2);
  if (!y || !mo || !d || !h || !mi || !s || *h > 23 || *mi > 59 || *s > 59) return std::nullopt;
  const year_month_day date{year(*y), month(static_cast<unsigned>(*mo)), day(static_cast<unsigned>(*d))};
  if (!date.ok()) return std::nullopt;
  milliseconds fraction{0};
  std::string_view rest = text.substr(kForm.size(), text.size() - kForm.size() - 1);
  if (!rest.empty()) {
    rest.remove_prefix(1);
    if (text[kForm.size()] != '.' || rest.empty() || rest.size() > 9 || !digits(rest)) return std::nullopt;
    std::string thousandths(rest.substr(0, 3));
    thousandths.resize(3, '0');
    fraction = milliseconds(*digits(thousandths));
  }
  return broker::Time(sys_days(date)) + hours(*h) + minutes(*mi) + seconds(*s) + fraction;
}

}  // namespace mintfs::kube
