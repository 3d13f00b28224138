#include "config/yaml_reader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <sstream>

#include "config/nearest.h"
#include "config/value.h"

namespace krserve {
namespace {

constexpr std::streamsize kMaxFileBytes = 1 << 20;

// Remembers where the last document started and ignores what is in it.
class DocumentStart final : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark& mark) override { line_ = mark.line + 1; }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t,
                const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}

  int line() const { return line_; }

 private:
  int line_ = 1;
};

// The line of whatever follows the first document. YAML::LoadAll would do, but it never returns
// from a document that starts with a comma: there it makes no progress.
std::optional<int> second_document_line(const std::string& text) {
  std::istringstream in(text);
  YAML::Parser parser(in);
  DocumentStart start;
  if (!parser.HandleNextDocument(start) || !parser.HandleNextDocument(start)) return std::nullopt;
  return start.line();
}

RawValue raw_from_node(const YAML::Node& node) {
  RawValue raw;
  switch (node.Type()) {
    case YAML::NodeType::Undefined:
    case YAML::NodeType::Null:
      raw.shape = RawValue::Shape::kNull;
      break;
    case YAML::NodeType::Map:
      raw.shape = RawValue::Shape::kSection;
      break;
    case YAML::NodeType::Scalar:
      raw.items.push_back(node.Scalar());
      raw.quoted = node.Tag() == "!";  // yaml-cpp's mark of a quoted scalar
      break;
    case YAML::NodeType::Sequence:
      raw.shape = RawValue::Shape::kList;
      for (const YAML::Node& item : node) {
        raw.items.push_back(item.IsScalar() ? item.Scalar() : "(not a number)");
        raw.quoted = raw.quoted || (item.IsScalar() && item.Tag() == "!");
      }
      break;
  }
  return raw;
}

class Reader {
 public:
  Reader(LoadedConfig& config, std::string_view source, Problems& problems)
      : config_(config), source_(source), problems_(problems) {}

  // `node` stands under the section `path` ("" is the document itself).
  void read_section(const YAML::Node& node, const std::string& path, const std::string& at) {
    if (node.IsNull()) return;  // a section whose keys are all commented out
    if (!node.IsMap()) {
      const std::string name = path.empty() ? "the document" : path;
      problems_.add(fmt::format("{}: {} is not a section; expected a map with the keys {}", at,
                                name, fmt::join(keys_of(path), ", ")));
      return;
    }
    std::set<std::string> seen;
    for (const auto& entry : node) read_entry(entry.first, entry.second, path, seen);
  }

 private:
  std::string place(const YAML::Node& node) const {
    return fmt::format("{}:{}", source_, node.Mark().line + 1);
  }

  void read_entry(const YAML::Node& key, const YAML::Node& value, const std::string& section,
                  std::set<std::string>& seen) {
    const std::string at = place(key);
    if (!key.IsScalar() || key.Scalar().empty()) {
      problems_.add(fmt::format("{}: a key in {} is not a word", at,
                                section.empty() ? "the document" : section));
      return;
    }
    const std::string path = section.empty() ? key.Scalar() : section + "." + key.Scalar();
    if (!seen.insert(key.Scalar()).second) {
      problems_.add(fmt::format("{}: duplicate key {}", at, path));
      return;
    }
    // A dot inside a key would look like a path that it is not.
    const bool plain = key.Scalar().find('.') == std::string::npos;
    if (plain && find_section(path) != nullptr) {
      read_section(value, path, at);
    } else if (const Field* field = plain ? find_field(path) : nullptr) {
      read_value(*field, value, at);
    } else {
      problems_.add(fmt::format("{}: unknown key {}; {}", at, printable(path), key_hint(path)));
    }
  }

  void read_value(const Field& field, const YAML::Node& value, const std::string& at) {
    const auto wrong = assign(field, config_.values, raw_from_node(value));
    if (wrong) {
      problems_.add(fmt::format("{}: {} = {}", at, field.path, *wrong));
    } else {
      config_.origins[std::string(field.path)] = at;
    }
  }

  static std::string printable(const std::string& path) {
    std::string out = path.substr(0, 120);
    for (char& c : out) {
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
    }
    return out.size() < path.size() ? out + "..." : out;
  }

  LoadedConfig& config_;
  std::string_view source_;
  Problems& problems_;
};

}  // namespace

void apply_yaml(LoadedConfig& config, const std::string& text, std::string_view source,
                Problems& problems) {
  try {
    if (const auto line = second_document_line(text)) {
      problems.add(fmt::format(
          "{}:{}: more follows the end of the first YAML document; expected one", source, *line));
      return;
    }
    Reader(config, source, problems)
        .read_section(YAML::Load(text), "", fmt::format("{}:1", source));
  } catch (const YAML::Exception& error) {
    problems.add(fmt::format("{}:{}: invalid YAML: {} (column {})", source, error.mark.line + 1,
                             error.msg, error.mark.column + 1));
  }
}

void apply_yaml_file(LoadedConfig& config, const std::string& path, Problems& problems) {
  std::error_code code;
  if (std::filesystem::is_directory(path, code)) {
    problems.add(fmt::format("{}: is a folder; expected a YAML file", path));
    return;
  }
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    problems.add(fmt::format("{}: cannot be read: {}", path, std::strerror(errno)));
    return;
  }
  std::string text(static_cast<size_t>(kMaxFileBytes) + 1, '\0');
  in.read(text.data(), kMaxFileBytes + 1);
  if (in.gcount() > kMaxFileBytes) {
    problems.add(fmt::format("{}: larger than 1 MiB; this is not a configuration", path));
    return;
  }
  text.resize(static_cast<size_t>(in.gcount()));
  apply_yaml(config, text, path, problems);
}

}  // namespace krserve
