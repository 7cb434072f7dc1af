"""llama.cpp as a peer of inference.py: a Hugging Face folder turned into GGUF by its own converter, and tokens/s through the
Python package's bindings of its C functions.

Needs the package llama-cpp-python (built for this processor: `pip install --no-binary :all: llama-cpp-python`) and its unpacked
source distribution, whose vendor/llama.cpp holds the converter (and gguf-py, which that imports).
"""
import ctypes
import os
import pathlib
import sys
import time

import torch


def convert(sources, folder, dtype, out):
    """Writes folder's model to the file `out`; dtype: fp32, bf16 or fp16. The models here have no tokenizer, so neither has the file."""
    sys.path.insert(0, os.path.join(sources, "vendor", "llama.cpp"))
    import logging
    import conversion
    from conversion import ModelBase, ModelType, get_model_class
    logging.disable(logging.INFO)
    gguf = conversion.base.gguf
    path = pathlib.Path(folder)
    hparams = ModelBase.load_hparams(path, False)
    model_class = get_model_class(hparams["architectures"][0])

    def set_vocab(self):
        self._set_vocab_none()
        if not hparams["architectures"][0].startswith("FalconH1"):  # which writes it itself
            self.gguf_writer.add_vocab_size(hparams["vocab_size"])

    model_class.set_vocab = set_vocab
    kind = {"fp32": gguf.LlamaFileType.ALL_F32, "bf16": gguf.LlamaFileType.MOSTLY_BF16, "fp16": gguf.LlamaFileType.MOSTLY_F16}[dtype]
    with torch.inference_mode():
        model_class(path, kind, pathlib.Path(out)).write()
    logging.disable(logging.NOTSET)


class Model:
    """One file, opened for up to `batch` sequences of `context` tokens."""

    def __init__(self, file, batch, context, threads):
        import llama_cpp
        self.api = api = llama_cpp
        self.log = api.llama_log_callback(lambda level, text, data: None)
        api.llama_log_set(self.log, ctypes.c_void_p(0))
        api.llama_backend_init()
        self.model = api.llama_model_load_from_file(file.encode(), api.llama_model_default_params())
        if not self.model:
            sys.exit("llama.cpp cannot open " + file)
        p = api.llama_context_default_params()
        p.n_ctx = batch * context
        p.n_batch, p.n_ubatch, p.n_seq_max = 2048, 512, batch
        p.n_threads = p.n_threads_batch = threads
        self.context = api.llama_init_from_model(self.model, p)
        if not self.context:
            sys.exit("llama.cpp has no context of %d x %d tokens for %s" % (batch, context, file))
        self.vocab = api.llama_vocab_n_tokens(api.llama_model_get_vocab(self.model))
        self.sequences = batch
        self.batch = api.llama_batch_init(2048, 0, 1)

    def close(self):
        self.api.llama_batch_free(self.batch)
        self.api.llama_free(self.context)
        self.api.llama_model_free(self.model)

    def clear(self):
        self.api.llama_memory_clear(self.api.llama_get_memory(self.context), True)

    def feed(self, items):
        """items: (token, position, sequence, whether its logits are wanted), at most 2048."""
        for i, (token, position, sequence, wanted) in enumerate(items):
            self.batch.token[i], self.batch.pos[i], self.batch.logits[i] = token, position, wanted
            self.batch.n_seq_id[i], self.batch.seq_id[i][0] = 1, sequence
        self.batch.n_tokens = len(items)
        code = self.api.llama_decode(self.context, self.batch)
        if code != 0:
            sys.exit("llama_decode gave %d" % code)
        self.api.llama_synchronize(self.context)

    def logits(self, ids):
        """ids: one sequence -> [length, vocab]."""
        self.clear()
        self.feed([(int(t), i, 0, 1) for i, t in enumerate(ids)])
        rows = []
        for i in range(len(ids)):
            pointer = self.api.llama_get_logits_ith(self.context, i)
            rows.append(torch.tensor([pointer[j] for j in range(self.vocab)]))
        return torch.stack(rows)

    def measure(self, context, steps):
        """(prefill, decode) tokens/s of all sequences, each of `context` tokens and then `steps` more."""
        ids = torch.randint(3, self.vocab, (self.sequences, context + steps)).tolist()
        self.clear()
        items = [(ids[b][i], i, b, int(i == context - 1)) for b in range(self.sequences) for i in range(context)]
        began = time.perf_counter()
        for first in range(0, len(items), 2048):
            self.feed(items[first:first + 2048])
        prefill = time.perf_counter() - began
        began = time.perf_counter()
        for i in range(context, context + steps):
            self.feed([(ids[b][i], i, b, 1) for b in range(self.sequences)])
        decode = time.perf_counter() - began
        return len(items) / prefill, self.sequences * steps / decode
