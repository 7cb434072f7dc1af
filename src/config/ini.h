// INI files of stanzas: designs, sizes, training recipes, task files. Data, never code.
//
//   [row-08]                       a stanza; its name is all between the brackets
//   from = row-05                  row n = row m + change
//   attention.window = 256
//   [row-08@quick]                 the same stanza at the size `quick`
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace hymba {

// One `key = value` and where it stands, for error messages and provenance.
struct Assignment {
  std::string key;
  std::string value;
  std::string origin;  // "roadmap.ini [row-08] line 12", or "command line"
};

struct Stanza {
  std::string name;
  std::string file;
  int line = 0;
  std::vector<Assignment> assignments;
  // The value of `key` or nullptr.
  const Assignment* find(const std::string& key) const;
};

// All stanzas of one or more files. UserError with file and line for a broken line, a key before the first stanza, a
// key given twice in one stanza, or a stanza given twice.
class StanzaFile {
 public:
  void add_file(const std::filesystem::path& path);
  void add_text(const std::string& text, const std::string& name);
  const Stanza* find(const std::string& name) const;  // nullptr if absent
  // UserError with the stanza names that are there and the nearest one.
  const Stanza& get(const std::string& name) const;
  std::vector<std::string> names() const;  // in file order

 private:
  std::vector<Stanza> stanzas_;
};

}  // namespace hymba
