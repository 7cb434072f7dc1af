"""What the Python packages `tokenizers` and `sentencepiece` say, for tests.

  oracle.py make FOLDER TEXT...      trains small tokenizers of many kinds on the texts and writes FOLDER/NAME.json with
                                     FOLDER/NAME.vectors (lines [text, ids, ids with specials, decoded])
  oracle.py encode TOKENIZER IN OUT  IN: lines of JSON strings; OUT: the same lines as vectors
  oracle.py time TOKENIZER FILE...   MB/s of encode and of decode on whole files, one thread
  oracle.py random N SEED OUT        N random texts over all of Unicode, as lines of JSON strings
"""
import json
import os
import random
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
          r"\s+(?!\S)|\s+")
QWEN = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
DEEPSEEK = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|"
            r" ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
TEXTS = [
    "", " ", "  ", "\n", "\t\n  x", "Hello world", " Hello  world ", "It's we'll I'M they'Ve", "12345 6789.5e-3", "a\u0301 \u00e9 \ufb01 \u2460",
    "<s>Hello</s> <s> there", "x<tool>y <tool> z", "\u4f60\u597d\uff0c\u4e16\u754c 3\u4e07", "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467", "na\u00efve \u0130stanbul STRASSE \u00df",
    "tabs\tand\r\nlines\r\n\r\n end", "\u00a0nbsp\u3000wide\u2003em\u180e", "\u0928\u092e\u0938\u094d\u0924\u0947 \u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35", "foo_bar(baz)[0] != \"q\";", "\u2581mark\u2581\u2581two",
    "\ufffd\u0000\u0001", "ABC def GHI", "don't stop\u2019s", "   lead and trail   ", "<unk> <0x41> </s", "word<mask>word <mask> .", "x\u0345\u05d0\u0660\u216b\u00bd"]


def write(folder, name, tokenizer, texts):
    tokenizer.save(os.path.join(folder, name + ".json"), pretty=False)
    with open(os.path.join(folder, name + ".vectors"), "w") as out:
        for text in texts:
            out.write(json.dumps(vector(tokenizer, text)) + "\n")


def vector(tokenizer, text):
    encoding = tokenizer.encode(text, add_special_tokens=False)
    ids = encoding.ids
    return [text, ids, tokenizer.post_process(encoding).ids, tokenizer.decode(ids)]


def variants(lines, size):
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    def build(name, model, normalizer, pre, decoder, post=None, added=(), special=(), alphabet=(), **train):
        t = Tokenizer(model)
        if normalizer:
            t.normalizer = normalizer
        if pre:
            t.pre_tokenizer = pre
        t.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=size, special_tokens=list(special), show_progress=False,
                                                         initial_alphabet=list(alphabet), **train))
        if decoder:
            t.decoder = decoder
        t.add_tokens([AddedToken(*a) if isinstance(a, tuple) else a for a in added])
        if post:
            t.post_processor = post(t)
        # Published byte fallbacks are plain entries of the vocabulary; the trainer makes added tokens of them.
        data = json.loads(t.to_str())
        data["added_tokens"] = [a for a in data["added_tokens"] if not a["content"].startswith("<0x")]
        return name, Tokenizer.from_str(json.dumps(data))

    byte = pre_tokenizers.ByteLevel
    alphabet = byte.alphabet()
    split = lambda pattern, behavior="isolated", **k: pre_tokenizers.Split(Regex(pattern), behavior, **k)
    bos_eos = lambda t: processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", t.token_to_id("<s>")), ("</s>", t.token_to_id("</s>"))])
    bos = lambda t: processors.Sequence([processors.ByteLevel(trim_offsets=False), processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", t.token_to_id("<s>"))])])
    fallback = ["<unk>", "<s>", "</s>"] + ["<0x%02X>" % b for b in range(256)]
    llama = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tool = [AddedToken("<tool>", single_word=True, normalized=False), AddedToken("<mask>", lstrip=True, rstrip=True, special=True)]
    yield build("gpt2", models.BPE(), None, byte(add_prefix_space=False), decoders.ByteLevel(), None, tool, ["<s>", "</s>"], alphabet)
    yield build("gpt2-prefix", models.BPE(), None, byte(add_prefix_space=True), decoders.ByteLevel(), bos_eos, tool, ["<s>", "</s>"], alphabet)
    yield build("llama3", models.BPE(ignore_merges=True), None, pre_tokenizers.Sequence([split(LLAMA3), byte(add_prefix_space=False, use_regex=False)]),
                decoders.ByteLevel(), bos, [], ["<s>", "</s>"], alphabet)
    yield build("qwen", models.BPE(), normalizers.NFC(), pre_tokenizers.Sequence([split(QWEN), byte(add_prefix_space=False, use_regex=False)]),
                decoders.ByteLevel(), None, [AddedToken("  ", normalized=True), AddedToken("    ", normalized=True)], ["</s>"], alphabet)
    yield build("deepseek", models.BPE(), None, pre_tokenizers.Sequence([split(r"\p{N}{1,3}"), split("[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"),
                split(DEEPSEEK), byte(add_prefix_space=False, use_regex=False)]), decoders.ByteLevel(), bos_eos, [], ["<s>", "</s>"], alphabet)
    yield build("llama2", models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True),
                normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]), None, llama, bos_eos, tool, fallback)
    for scheme in ("first", "always", "never"):
        yield build("metaspace-" + scheme, models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=scheme == "never"), None,
                    pre_tokenizers.Metaspace(prepend_scheme=scheme, split=scheme != "first"),
                    decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme=scheme)]), bos_eos, tool, fallback)
    yield build("metaspace-unk", models.BPE(unk_token="<unk>", fuse_unk=True), normalizers.NFKC(), pre_tokenizers.Metaspace(),
                decoders.Metaspace(), None, [], ["<unk>", "<s>", "</s>"])
    yield build("clip", models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"),
                normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]),
                pre_tokenizers.Sequence([split(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", "removed", invert=True)]),
                decoders.BPEDecoder("</w>"), bos_eos, tool, ["<unk>", "<s>", "</s>"], end_of_word_suffix="</w>")
    yield build("wordpiece-like", models.BPE(unk_token="<unk>", continuing_subword_prefix="##"),
                normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Strip(), normalizers.Lowercase()]),
                pre_tokenizers.BertPreTokenizer(), decoders.WordPiece(), None, tool, ["<unk>", "<s>", "</s>"], continuing_subword_prefix="##")
    yield build("words-digits", models.BPE(unk_token="<unk>"), normalizers.NFKD(),
                pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Digits(individual_digits=True)]), None, None, tool, ["<unk>"])
    yield build("digits-punctuation", models.BPE(unk_token="<unk>", fuse_unk=True), None,
                pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Digits(), pre_tokenizers.Punctuation("contiguous")]), None, None, [], ["<unk>"])
    for behavior in ("merged_with_previous", "merged_with_next", "contiguous", "isolated", "removed"):
        yield build("split-" + behavior.replace("_", "-"), models.BPE(unk_token="<unk>"), None,
                    pre_tokenizers.Sequence([split(r"\s|[aeiou]|\W", behavior), pre_tokenizers.Split("th", behavior),
                                             pre_tokenizers.CharDelimiterSplit("-")]), None, None, [], ["<unk>"])


def make(folder, files):
    lines = [line for f in files for line in open(f, encoding="utf-8").read().splitlines() if line]
    extra = [l.strip() for l in lines if l.strip()][:: max(1, len(lines) // 6)][:6]
    for name, tokenizer in variants(lines, 420):
        write(folder, name, tokenizer, TEXTS + extra)


class SentencePiece:
    def __init__(self, path):
        import sentencepiece
        self.model = sentencepiece.SentencePieceProcessor(model_file=path)
        self.encode, self.decode = self.model.encode, self.model.decode

    def vector(self, text):
        ids = self.model.encode(text)
        return [text, ids, [self.model.bos_id()] + ids if self.model.bos_id() >= 0 else ids, self.model.decode(ids)]


def open_tokenizer(path):
    t = load(path)
    return t.vector if path.endswith(".model") else lambda text: vector(t, text)


def load(path):
    if path.endswith(".model"):
        return SentencePiece(path)
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    if path.endswith("merges.txt"):  # GPT-2's pair of files; the vocabulary's path differs in one word
        vocab = json.load(open(path.replace("merges.txt", "vocab.json"), encoding="utf-8"))
        lines = [l for l in open(path, encoding="utf-8").read().split("\n") if l and not l.startswith("#version")]
        t = Tokenizer(models.BPE(vocab, [tuple(l.split(" ")) for l in lines]))
        t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        t.decoder = decoders.ByteLevel()
        t.add_special_tokens(["<|endoftext|>"])
    else:
        t = Tokenizer.from_file(path)
    return t


def random_texts(n, seed):
    rng = random.Random(seed)
    import unicodedata
    # Unicode 3.2's characters: packages differ in how new their tables are.
    old = [c for c in map(chr, range(0x110000)) if unicodedata.ucd_3_2_0.category(c) not in ("Cn", "Cs", "Co")]
    common = [c for c in old if ord(c) < 0x250] + list(" \t\n\r\u00a0\u3000\u2028\u200b\u2581'") * 8
    for _ in range(n):
        pool = rng.choice([old, common, common, [c for c in common if ord(c) < 128], rng.sample(old, 20) + [" ", "\n"]])
        yield "".join(rng.choice(pool) for _ in range(rng.choice([1, 3, 10, 40, 200])))


def main(command, *args):
    if command == "make":
        make(args[0], args[1:])
    elif command == "encode":
        oracle = open_tokenizer(args[0])
        with open(args[1]) as texts, open(args[2], "w") as out:
            for line in texts:
                out.write(json.dumps(oracle(json.loads(line))) + "\n")
    elif command == "random":
        with open(args[2], "w") as out:
            for text in random_texts(int(args[0]), int(args[1])):
                out.write(json.dumps(text) + "\n")
    elif command == "time":
        t = load(args[0])
        ids_of = (lambda text: t.encode(text)) if args[0].endswith(".model") else (lambda text: t.encode(text, add_special_tokens=False).ids)
        texts = [open(name, encoding="utf-8", newline="").read() for name in args[1:]]
        size = sum(len(text.encode()) for text in texts) / 1e6
        begin = time.time()
        ids = [ids_of(text) for text in texts]
        middle = time.time()
        for some in ids:
            t.decode(some)
        print("%.2f %.2f" % (size / (middle - begin), size / (time.time() - middle)))


main(*sys.argv[1:])
