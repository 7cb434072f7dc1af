// The source files behind a corpus: finding them, and streaming their documents as ids into a token file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/corpus.h"
#include "data/token_file.h"

namespace hymba {

enum class SourceKind { kText, kJsonLines, kTokens };

struct SourceFile {
  std::filesystem::path path;
  SourceKind kind;
  bool named;  // by the user himself, not found in a folder
};

// The files behind paths, folders walked in name order. Skipped files are named in `notes`.
std::vector<SourceFile> find_source_files(const std::vector<std::filesystem::path>& paths,
                                          std::vector<std::string>* notes);

// Of the files' places, sizes and times, the tokenizer and the options that change the ids.
std::uint64_t corpus_key(const std::vector<SourceFile>& files, const CorpusOptions& options,
                         const Tokenizer& tokenizer);

// Writes every document of the files; UserError for a broken file, a note for what is skipped or repaired.
void tokenise_files(const std::vector<SourceFile>& files, const CorpusOptions& options, const Tokenizer& tokenizer,
                    TokenFileWriter* out, std::vector<std::string>* notes);

}  // namespace hymba
