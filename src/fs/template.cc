#include "fs/template.h"

namespace mintfs::fs {

std::size_t Template::Hole::size() const {
  switch (form) {
    case Form::token:
      return token_size;
    case Form::basic:
      return broker::base64_size(1 + token_size);
    case Form::named_basic:
      return broker::base64_size(kUserName.size() + 1 + token_size);
  }
  return 0;
}

std::size_t Template::size() const {
  std::size_t size = text.size();
  for (const auto& hole : holes) size += hole.size();
  return size;
}

}  // namespace mintfs::fs
