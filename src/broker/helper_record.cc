#include "broker/helper_record.h"

#include "broker/encoding.h"
#include "broker/lease.h"
#include "broker/secret_json.h"
#include "broker/state_file.h"
#include "broker/system_helper.h"

#include <boost/json.hpp>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

#include <openssl/sha.h>
#include <sys/stat.h>
#include <unistd.h>

namespace mintfs::broker {
namespace {

namespace json = boost::json;

constexpr std::size_t kMaxLabel = 63;          // RFC 1035 section 2.3.4
constexpr std::size_t kMaxRecord = 56 * 1024;  // read_secret_file() takes a little more
constexpr std::size_t kMaxEntries = 64;
constexpr std::string_view kSuffix = ".json";

// A name too long for a label: its beginning, and a digest behind what stands in no other label.
std::string shortened(std::string_view text, std::string label) {
  constexpr std::size_t kBytes = 8;
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  ::SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  label.resize(kMaxLabel - 2 - 2 * kBytes);
  label.append("_-").append(hex_encode({reinterpret_cast<const char*>(digest.data()), kBytes}));
  return label;
}

std::string to_label(std::string_view text) {
  std::string label;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool inner_hyphen = c == '-' && i != 0 && i + 1 != text.size();
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || inner_hyphen) {
      label += c;
    } else {
      label.append("_").append(hex_encode(text.substr(i, 1)));
    }
  }
  return label.size() > kMaxLabel ? shortened(text, std::move(label)) : label;
}

std::string text(const json::value& value) { return std::string(value.as_string()); }

void add(json::object& object, const char* name, const std::optional<std::string>& value) {
  if (value) object[name] = *value;
}

std::optional<std::string> member(const json::object& object, const char* name) {
  const auto* value = object.if_contains(name);
  return value == nullptr ? std::nullopt : std::optional(text(*value));
}

json::object to_json(const HelperRecord& record) {
  json::array sessions, entries;
  for (const auto& session : record.sessions) {
    json::object variables;
    for (const auto& [name, value] : session) variables[name] = value;
    sessions.push_back(std::move(variables));
  }
  for (const auto& entry : record.entries) {
    json::object object = {{"session", entry.session}};
    add(object, "protocol", entry.where.protocol);
    add(object, "host", entry.where.host);
    add(object, "path", entry.where.path);
    add(object, "username", entry.where.username);
    entries.push_back(std::move(object));
  }
  return {{"version", 1},
          {"lease", record.lease},
          {"helper", record.helper},
          {"prefix", record.prefix},
          {"uid", record.uid},
          {"gid", record.gid},
          {"groups", json::array(record.groups.begin(), record.groups.end())},
          {"sessions", std::move(sessions)},
          {"entries", std::move(entries)}};
}

HelperRecord parse(const json::object& object) {
  if (object.at("version").as_int64() != 1) throw std::runtime_error("it was written by another version of mintfsd");
  HelperRecord record{.lease = text(object.at("lease")),
                      .helper = text(object.at("helper")),
                      .prefix = text(object.at("prefix")),
                      .uid = object.at("uid").to_number<uid_t>(),
                      .gid = object.at("gid").to_number<gid_t>()};
  for (const auto& group : object.at("groups").as_array()) record.groups.push_back(group.to_number<gid_t>());
  for (const auto& each : object.at("sessions").as_array()) {
    auto& session = record.sessions.emplace_back();
    for (const auto& variable : each.as_object()) session[std::string(variable.key())] = text(variable.value());
  }
  for (const auto& each : object.at("entries").as_array()) {
    const auto& entry = each.as_object();
    record.entries.push_back({.where = {.protocol = member(entry, "protocol"),
                                        .host = member(entry, "host"),
                                        .path = member(entry, "path"),
                                        .username = member(entry, "username")},
                              .session = entry.at("session").to_number<std::size_t>()});
    if (record.entries.back().session >= record.sessions.size() || !record.entries.back().where.host)
      throw std::runtime_error("it is not whole");
  }
  if (!is_system_helper(record.helper)) throw std::runtime_error("it names no helper");
  return record;
}

}  // namespace

void HelperRecord::add(CredentialPattern where, const Environment& session) {
  auto place = std::find(sessions.begin(), sessions.end(), session);
  if (place == sessions.end()) place = sessions.insert(place, session);
  Entry entry{.where = std::move(where), .session = static_cast<std::size_t>(place - sessions.begin())};
  std::erase(entries, entry);
  entries.push_back(std::move(entry));
}

std::optional<std::string> helper_prefix(const std::map<std::string, std::string>& labels) {
  std::string prefix;
  for (const char* name : {"build", "job"}) {
    const auto label = labels.find(name);
    if (label == labels.end() || label->second.empty()) return std::nullopt;
    prefix += to_label(label->second) + ".";
  }
  return prefix;
}

CredentialPattern helper_place(const std::string& prefix, const CredentialPattern& where) {
  CredentialPattern place = where;
  const std::string& host = *where.host;
  // An address in brackets is no part of a longer name.
  if (const std::size_t end = host.find(']'); host.starts_with('[') && end != std::string::npos)
    place.host = prefix + to_label(host.substr(1, end - 1)) + host.substr(end + 1);
  else
    place.host = prefix + host;
  return place;
}

HelperRecords::HelperRecords(std::filesystem::path directory) : directory_(std::move(directory)) {
  std::error_code error;
  std::filesystem::create_directories(directory_, error);
  if (error || ::chmod(directory_.c_str(), 0700) != 0)
    throw std::runtime_error("cannot make the directory " + directory_.string() +
                             "; make room there or choose another daemon.state_dir");
}

std::filesystem::path HelperRecords::file_of(std::string_view lease) const {
  return directory_ / (std::string(lease) + std::string(kSuffix));
}

std::optional<HelperRecord> HelperRecords::read(std::string_view lease) const {
  const auto file = file_of(lease);
  struct stat entry {};
  if (::lstat(file.c_str(), &entry) != 0) return std::nullopt;
  const Secret content = read_secret_file(file);
  const auto value = parse_secret_json(content.reveal());  // a user's name need not be UTF-8
  if (!value || !value->is_object()) throw std::runtime_error("it is not a JSON object");
  try {
    return parse(value->get_object());
  } catch (const boost::system::system_error&) {
    throw std::runtime_error("a member is missing or of the wrong type");
  } catch (const std::logic_error&) {
    throw std::runtime_error("a member is missing or of the wrong type");
  }
}

Result<void> HelperRecords::write(const HelperRecord& record) const {
  const std::string content = json::serialize(to_json(record)) + "\n";
  if (record.entries.size() > kMaxEntries || content.size() > kMaxRecord) return Errc::too_many;
  try {
    write_file_atomically(file_of(record.lease), content, 0600, true);
  } catch (const std::exception&) {
    return Errc::storage_failed;
  }
  return {};
}

void HelperRecords::clear() const {
  std::error_code error;
  for (const auto& file : std::filesystem::directory_iterator(directory_, error))
    if (file.path().filename().string().find(".json.") != std::string::npos) ::unlink(file.path().c_str());
}

void HelperRecords::remove(std::string_view lease) const { ::unlink(file_of(lease).c_str()); }

std::vector<std::string> HelperRecords::leases() const {
  std::vector<std::string> ids;
  std::error_code error;
  for (const auto& file : std::filesystem::directory_iterator(directory_, error)) {
    std::string name = file.path().filename().string();
    if (name.size() != kLeaseIdSize + kSuffix.size() || !name.ends_with(kSuffix)) continue;
    name.resize(kLeaseIdSize);
    ids.push_back(std::move(name));
  }
  return ids;
}

}  // namespace mintfs::broker
