// Training on the documents of files.
#pragma once

#include <string>
#include <vector>

#include "base/cancel.h"
#include "base/thread_pool.h"
#include "tokenizer/bpe_trainer.h"

namespace nanochat {

struct TrainingFiles {
  std::vector<std::string> paths;   // files and folders: list_document_files()
  std::string text_field = "text";  // of .jsonl files
  bool text_is_lines = false;       // each line of a .txt file is a document
};

// Counts all documents. Files are read in parts, beside the counting; the trainer's memory limit holds for
// them too. Reports the stage "read" in bytes of the files as stored. Errors name file and line, of the first
// one that is wrong.
void add_document_files(BpeTrainer& trainer, const TrainingFiles& files, ThreadPool& threads,
                        const Watch& watch);

}  // namespace nanochat
