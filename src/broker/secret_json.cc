#include "broker/secret_json.h"

#include <boost/json.hpp>

#include <array>
#include <new>

namespace mintfs::broker {
namespace {

namespace json = boost::json;

// Boost.JSON asks for no more alignment than every allocation has, and not always for the same when it gives back.
class WipingMemory final : public json::memory_resource {
  void* do_allocate(std::size_t size, std::size_t) override { return ::operator new(size); }
  void do_deallocate(void* memory, std::size_t size, std::size_t) override {
    wipe({static_cast<char*>(memory), size});
    ::operator delete(memory);
  }
  bool do_is_equal(const json::memory_resource& other) const noexcept override { return this == &other; }
};

// Hands the text on in pieces.
template <class Take>
void serialize(const json::object& object, Take&& take) {
  std::array<char, 1024> piece;
  json::serializer serializer;
  serializer.reset(&object);
  while (!serializer.done()) {
    const auto text = serializer.read(piece.data(), piece.size());
    take(std::string_view(text.data(), text.size()));
  }
  wipe(piece);
}

}  // namespace

std::optional<json::value> parse_secret_json(std::string_view text) {
  json::parse_options options;
  options.allow_invalid_utf8 = true;
  json::parser parser(json::make_shared_resource<WipingMemory>(), options);
  parser.reset(json::make_shared_resource<WipingMemory>());
  boost::system::error_code error;
  parser.write(json::string_view(text.data(), text.size()), error);
  if (error) return std::nullopt;
  return parser.release();
}

Secret serialize_secret(const json::object& object) {
  std::size_t size = 0;
  serialize(object, [&](std::string_view piece) { size += piece.size(); });
  Secret text(size);
  std::size_t at = 0;
  serialize(object, [&](std::string_view piece) { at += piece.copy(text.bytes().data() + at, piece.size()); });
  return text;
}

json::object secret_object() { return json::object(json::make_shared_resource<WipingMemory>()); }

}  // namespace mintfs::broker
