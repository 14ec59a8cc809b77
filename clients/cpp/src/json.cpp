#include "json.h"

#include <cmath>
#include <cstdlib>
#include <locale>
#include <sstream>
#include <stdexcept>

#include "text.h"

namespace elsa_edge {
namespace {

constexpr int kDeepest = 64;

// Numbers as JSON has them, whatever the locale.
bool as_number(const std::string& text, double& number) {
  size_t i = text.size() > 0 && text[0] == '-' ? 1 : 0;
  const size_t digits = i;
  const auto run = [&] {
    const size_t begin = i;
    while (i < text.size() && text[i] >= '0' && text[i] <= '9') ++i;
    return i > begin;
  };
  if (!run() || (text[digits] == '0' && i > digits + 1)) return false;
  if (i < text.size() && text[i] == '.' && (++i, !run())) return false;
  if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    if (++i < text.size() && (text[i] == '+' || text[i] == '-')) ++i;
    if (!run()) return false;
  }
  if (i != text.size()) return false;
  std::istringstream stream(text);
  stream.imbue(std::locale::classic());
  stream >> number;
  // Beyond the largest double: as other readers have it.
  if (stream.fail()) number = text[0] == '-' ? -HUGE_VAL : HUGE_VAL;
  return true;
}

class Reader {
 public:
  Reader(const std::string& text, bool plain) : text_(text), plain_(plain) {}

  Json whole() {
    Json value = any(0);
    skip();
    if (at_ != text_.size()) refuse({"something follows the end"});
    return value;
  }

 private:
  void skip() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string::npos) ++at_;
  }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  char next() {
    skip();
    return peek();
  }
  void expect(char c) {
    if (next() != c) refuse({"expected ", std::string_view(&c, 1), " at byte ", std::to_string(at_)});
    ++at_;
  }

  Json any(int depth) {
    if (depth > kDeepest) refuse({"deeper than 64 levels"});
    Json value;
    const char c = next();
    if (c == '{') {
      value.kind = Json::Kind::kObject;
      each('}', [&] {
        std::string key = next() == '"' ? quoted() : plain_ ? word() : (refuse({"a key must be quoted"}), "");
        expect(':');
        if (!value.object.emplace(key, any(depth + 1)).second) refuse({"the key ", key, " is there twice"});
      });
    } else if (c == '[') {
      value.kind = Json::Kind::kList;
      each(']', [&] { value.list.push_back(any(depth + 1)); });
    } else if (c == '"') {
      value.kind = Json::Kind::kText;
      value.text = quoted();
    } else {
      value = scalar(word());
    }
    return value;
  }

  template <typename Item>
  void each(char end, Item item) {
    ++at_;
    if (next() == end) {
      ++at_;
      return;
    }
    for (;;) {
      item();
      if (next() == end) break;
      expect(',');
    }
    ++at_;
  }

  std::string word() {
    const size_t begin = at_;
    while (at_ < text_.size() &&
           std::string_view(plain_ ? ",:{}[]\"\n" : ",:{}[]\" \t\r\n").find(text_[at_]) == std::string::npos)
      ++at_;
    size_t end = at_;
    while (end > begin && text_[end - 1] == ' ') --end;
    return text_.substr(begin, end - begin);
  }

  Json scalar(const std::string& word) const {
    Json value;
    if (word == "null") return value;
    if (word == "true" || word == "false") {
      value.kind = Json::Kind::kBoolean;
      value.boolean = word == "true";
    } else if (as_number(word, value.number)) {
      value.kind = Json::Kind::kNumber;
    } else if (plain_ && !word.empty() && std::string_view("&*!|>%@`'#?-~.").find(word[0]) == std::string::npos &&
               word.find(" #") == std::string::npos) {
      value.kind = Json::Kind::kText;
      value.text = word;
    } else {
      refuse({"unexpected \"", word.substr(0, 40), "\" at byte ", std::to_string(at_)});
    }
    return value;
  }

  std::string quoted() {
    std::string out;
    for (++at_; peek() != '"';) {
      if (at_ >= text_.size() || static_cast<unsigned char>(text_[at_]) < 0x20) refuse({"a text has no end"});
      if (text_[at_] != '\\') {
        out += text_[at_++];
        continue;
      }
      ++at_;
      const char c = peek();
      ++at_;
      const size_t simple = std::string_view("\"\\/bfnrt").find(c);
      if (c == 'u') {
        append(out, code_point());
      } else if (c == 'x' && plain_) {
        append(out, hex(2));
      } else if (c != '\0' && simple != std::string::npos) {
        out += "\"\\/\b\f\n\r\t"[simple];
      } else {
        refuse({"an unknown escape in a text"});
      }
    }
    ++at_;
    return out;
  }

  unsigned hex(size_t digits) {
    const std::string part = text_.substr(at_ < text_.size() ? at_ : text_.size(), digits);
    if (part.size() != digits || part.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos)
      refuse({"an escape needs hexadecimal digits"});
    at_ += digits;
    return static_cast<unsigned>(std::strtoul(part.c_str(), nullptr, 16));
  }

  unsigned code_point() {
    const unsigned first = hex(4);
    if (first < 0xd800 || first > 0xdfff) return first;
    if (first > 0xdbff || text_.compare(at_, 2, "\\u") != 0) refuse({"half of a surrogate pair"});
    at_ += 2;
    const unsigned second = hex(4);
    if (second < 0xdc00 || second > 0xdfff) refuse({"half of a surrogate pair"});
    return 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
  }

  static void append(std::string& out, unsigned c) {
    if (c < 0x80) {
      out += static_cast<char>(c);
    } else if (c < 0x800) {
      out += {static_cast<char>(0xc0 | c >> 6), static_cast<char>(0x80 | (c & 63))};
    } else if (c < 0x10000) {
      out += {static_cast<char>(0xe0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 63)),
              static_cast<char>(0x80 | (c & 63))};
    } else {
      out += {static_cast<char>(0xf0 | c >> 18), static_cast<char>(0x80 | (c >> 12 & 63)),
              static_cast<char>(0x80 | (c >> 6 & 63)), static_cast<char>(0x80 | (c & 63))};
    }
  }

  const std::string& text_;
  const bool plain_;
  size_t at_ = 0;
};

struct Line {
  size_t indent;
  std::string text;
};

std::vector<Line> lines_of(const std::string& text) {
  std::vector<Line> lines;
  for (size_t begin = 0, end = 0; end != std::string::npos; begin = end + 1) {
    end = text.find('\n', begin);
    std::string line = text.substr(begin, end - begin);
    while (!line.empty() && (line.back() == ' ' || line.back() == '\r')) line.pop_back();
    const size_t indent = line.find_first_not_of(' ');
    if (indent == std::string::npos || line[indent] == '#') continue;
    lines.push_back({indent, line.substr(indent)});
  }
  return lines;
}

Json block(const std::vector<Line>& lines, size_t& at, int depth) {
  if (depth > kDeepest) refuse({"deeper than 64 levels"});
  Json value;
  const size_t indent = lines[at].indent;
  const bool list = lines[at].text.rfind("- ", 0) == 0;
  value.kind = list ? Json::Kind::kList : Json::Kind::kObject;
  for (; at < lines.size() && lines[at].indent == indent;) {
    const std::string& line = lines[at].text;
    if (list) {
      if (line.rfind("- ", 0) != 0) refuse({"a list has another line in it: ", line.substr(0, 40)});
      value.list.push_back(Reader(line.substr(2), true).whole());
      ++at;
      continue;
    }
    const size_t colon = line[0] == '"' ? line.find("\":") + 1 : line.find(':');
    if (colon == std::string::npos || colon == 0) refuse({"no key in the line ", line.substr(0, 40)});
    const std::string key = line[0] == '"' ? Reader(line.substr(0, colon), true).whole().text : line.substr(0, colon);
    const std::string rest = line.substr(colon + 1);
    ++at;
    Json inner;
    if (!rest.empty()) {
      inner = Reader(rest, true).whole();
    } else if (at < lines.size() && lines[at].indent > indent) {
      inner = block(lines, at, depth + 1);
    }
    if (!value.object.emplace(key, std::move(inner)).second) refuse({"the key ", key, " is there twice"});
  }
  if (at < lines.size() && lines[at].indent > indent)
    refuse({"a line is indented too far: ", lines[at].text.substr(0, 40)});
  return value;
}

}  // namespace

Json Json::parse(const std::string& text) { return Reader(text, false).whole(); }

Json Json::parse_profile(const std::string& text) {
  const std::vector<Line> lines = lines_of(text);
  if (lines.empty()) refuse({"it is empty"});
  if (lines[0].text[0] == '{') return parse(text);
  size_t at = 0;
  Json value = block(lines, at, 0);
  if (at != lines.size()) refuse({"a line is indented too little: ", lines[at].text.substr(0, 40)});
  return value;
}

const Json& Json::at(std::string_view key) const {
  static const Json kNothing;
  const auto found = object.find(key);
  return found == object.end() ? kNothing : found->second;
}

}  // namespace elsa_edge
