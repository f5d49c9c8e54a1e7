// Files that the administrator defines.
#include "fs/render.h"
#include "fs/text.h"

#include <charconv>

namespace mintfs::fs {
namespace {

// What stands for a token while the template is expanded: no template and no other value holds these bytes.
constexpr char kMark = '\x01', kToken = 't', kBasic = 'b', kEnd = '\x02';

std::string mark(char form, std::uint32_t index) {
  return std::string{kMark, form} + std::to_string(index) + std::string{kEnd};
}

}  // namespace

void render_user(Text& out, const broker::FileConfig& file, const Scene& scene, const Proxy& proxy,
                 const Targets& targets) {
  broker::FileScene given{.proxy_url = std::string(proxy.url),
                          .proxy_host = std::string(proxy.authority),
                          .lease = scene.lease.id,
                          .authorities = std::string(scene.authorities),
                          .connectors = {}};
  for (std::uint32_t i = 0; i < targets.size(); ++i) {
    const Target& target = targets[i];
    given.connectors.push_back({.name = target.connector.name.name,
                                .space = target.connector.name.space,
                                .label = target.label,
                                .class_name = std::string(to_string(target.connector.connector_class)),
                                .url = target.url.substr(0, target.url.size() - 1),
                                .address = target.connector.address.text(),
                                .host = target.connector.address.authority(),
                                .token = mark(kToken, i),
                                .basic = mark(kBasic, i)});
  }
  const auto expanded = broker::expand(file, given, [](std::string_view value) { return value.starts_with(kMark); });
  if (!expanded) return out.refuse();
  std::string_view rest = *expanded;
  for (std::size_t at = rest.find(kMark); at != std::string_view::npos; at = rest.find(kMark)) {
    const std::size_t end = rest.find(kEnd, at);
    std::uint32_t index = 0;
    std::from_chars(rest.data() + at + 2, rest.data() + end, index);
    out.raw(rest.substr(0, at));
    out.token(targets[index].index, targets[index].token_size,
              rest[at + 1] == kBasic ? Template::Form::basic : Template::Form::token);
    rest.remove_prefix(end + 1);
  }
  out.raw(rest);
}

}  // namespace mintfs::fs
