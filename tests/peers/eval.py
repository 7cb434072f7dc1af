"""`hymba eval` beside lm-evaluation-harness on one model, one data set and one CPU: every log-likelihood, score and metric
must agree, and requests a second stand beside each other.

  eval.py HYMBA [--items N] [--size small|medium] [--tasks a,b] [--shots K] [--threads N] [--speed] [--batch N] [--work DIR]

HYMBA: the program. Needs lm-eval, transformers, tokenizers and torch. The items are invented here from a seed, in the
columns of the sets that the harness reads; its own task definitions are used, with its loader of data sets replaced.
"""
import argparse
import glob
import json
import os
import random
import subprocess
import sys
import tempfile
import time

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
import datasets  # noqa: E402
import torch  # noqa: E402

WORDS = """the a an old young red small heavy bright quiet broken rusty warm kettle ladder violin harbour museum bakery garden basket lantern
umbrella hammer bicycle teapot blanket suitcase radio station bridge river Mira Omar Nils Ada Jules Pia Yuki carries finds sells paints washes
hides opens closes climbs waits sings looks goes comes because therefore and but near under behind with without slowly often never 12 7 305 1956
who what when where why""".split()
SUBJECTS = ["abstract_algebra", "anatomy", "astronomy", "philosophy", "econometrics", "virology"]
PARADIGMS = ["adjunct_island", "wh_island", "transitive"]


class Maker:
    """Records of the harness' data sets, {split: rows} by task."""

    def __init__(self, seed, items):
        self.r, self.items = random.Random(seed), items

    def words(self, low, high):
        return " ".join(self.r.choice(WORDS) for _ in range(self.r.randint(low, high)))

    def sentence(self, low=5, high=14):
        return self.words(low, high).capitalize() + self.r.choice(".!?.")

    def choices(self, n, low=1, high=7):
        return [self.words(low, high) for _ in range(n)]

    def labelled(self, field):
        n = self.r.choice([3, 4, 4, 5])
        labels = list("ABCDE" if self.r.random() < 0.7 else "12345")[:n]
        return {field: self.sentence(8, 30), "choices": {"text": self.choices(n), "label": labels}, "answerKey": self.r.choice(labels)}

    def rows(self, make, n=0):
        return [make(i) for i in range(n or self.items)]

    def all(self):
        r, s = self.r, self.sentence
        sets = {
            "arc_easy": lambda i: dict(self.labelled("question"), id="X_%d" % i),
            "arc_challenge": lambda i: dict(self.labelled("question"), id="Y_%d" % i),
            "openbookqa": lambda i: {"id": str(i), "question_stem": self.words(5, 15), "choices": {"text": self.choices(4), "label": list("ABCD")},
                                     "answerKey": r.choice("ABCD")},
            "piqa": lambda i: {"goal": s(), "sol1": s(), "sol2": s(), "label": r.randrange(2)},
            "hellaswag": lambda i: {"ind": i, "activity_label": self.words(2, 3), "ctx_a": s(8, 25), "ctx_b": self.words(1, 3), "ctx": "",
                                    "endings": [self.words(4, 12) + r.choice([" [title] " + s(), "  [step] .", "."]) for _ in range(4)],
                                    "label": str(r.randrange(4))},
            "winogrande": lambda i: {"sentence": self.words(6, 14) + " _ " + self.words(3, 9) + ".", "option1": "Mira", "option2": "the ladder",
                                     "answer": r.choice("12")},
            "boolq": lambda i: {"question": self.words(4, 9), "passage": " ".join(s() for _ in range(6)), "idx": i, "label": r.randrange(2)},
            "copa": lambda i: {"premise": s() + " ", "choice1": s(), "choice2": s(), "question": r.choice(["cause", "effect"]), "idx": i,
                               "label": r.randrange(2)},
            "commonsense_qa": lambda i: {"id": "c%d" % i, "question": s() + " ", "question_concept": "x",
                                         "choices": {"label": list("ABCDE"), "text": self.choices(5, 1, 2)}, "answerKey": r.choice("ABCDE")},
            "truthfulqa_mc2": lambda i: self.truthful(),
            "lambada_openai": lambda i: {"text": self.words(20, 60)},
            "wikitext": lambda i: {"page": " = %s = \n\n " % self.words(1, 3) + " ".join(self.words(5, 12) + r.choice([" , ", " . ", " @-@ ", " ( 12 ) "])
                                                                                     for _ in range(r.choice([4, 60])))},
            "squad_completion": lambda i: {"doc_id": str(i), "title": "t", "text": " ".join(s() for _ in range(5)) + "\n\nThe ladder is \n",
                                           "value": " " + r.choice(WORDS)},
            "swde": lambda i: {"doc_id": str(i), "text": " ".join(s() for _ in range(4)) + "\n\nname: ", "value": r.choice(WORDS)},
            "nq_open": lambda i: {"question": self.words(4, 9), "answer": [self.words(1, 2), "The " + r.choice(WORDS)]},
            "gsm8k": lambda i: {"question": s(8, 20), "answer": s() + "\nSo it is 3 x 4.\n#### %s" % r.choice(["12", "1,305", "-7"])},
        }
        data = {name: {"test": self.rows(make)} for name, make in sets.items()}
        for name in ("arc_easy", "gsm8k", "piqa", "nq_open"):
            data[name]["train"] = self.rows(sets[name], 40)
        question = lambda subject: {"question": s(6, 25) + r.choice(["", "\n"]), "subject": subject, "choices": self.choices(4), "answer": r.randrange(4)}
        for subject in SUBJECTS:
            data["mmlu_" + subject] = {"test": self.rows(lambda i: question(subject), max(2, self.items // 4 + len(subject) % 3)),
                                       "dev": self.rows(lambda i: question(subject), 5)}
        for name in PARADIGMS:
            data["blimp_" + name] = {"test": self.rows(lambda i: {"sentence_good": s(), "sentence_bad": s(), "UID": name}, max(2, self.items // 2))}
        return data

    def truthful(self):
        n = self.r.randint(2, 8)
        labels = [1] + [self.r.randrange(2) for _ in range(n - 1)]
        one = self.choices(4)
        return {"question": self.sentence(), "mc1_targets": {"choices": one, "labels": [1, 0, 0, 0]},
                "mc2_targets": {"choices": [self.sentence() for _ in range(n)], "labels": labels}}


def write_jsonl(path, rows):
    with open(path, "w") as out:
        for row in rows:
            out.write(json.dumps(row) + "\n")


def write_data(data, folder):
    """The files that `hymba eval --data` reads."""
    mmlu = {"test": [], "dev": []}
    for name, splits in data.items():
        if name.startswith("mmlu_"):
            for split in mmlu:
                mmlu[split] += splits[split]
            continue
        write_jsonl("%s/%s.jsonl" % (folder, name), splits["test"])
        if "train" in splits:
            write_jsonl("%s/%s_train.jsonl" % (folder, name), splits["train"])
    for split, rows in mmlu.items():
        write_jsonl("%s/mmlu_%s.jsonl" % (folder, split), rows)


def fake_loader(data):
    names = {"allenai/ai2_arc ARC-Easy": "arc_easy", "allenai/ai2_arc ARC-Challenge": "arc_challenge", "allenai/openbookqa main": "openbookqa",
             "baber/piqa": "piqa", "Rowan/hellaswag": "hellaswag", "allenai/winogrande winogrande_xl": "winogrande", "aps/super_glue boolq": "boolq",
             "aps/super_glue copa": "copa", "tau/commonsense_qa": "commonsense_qa", "truthfulqa/truthful_qa multiple_choice": "truthfulqa_mc2",
             "EleutherAI/lambada_openai default": "lambada_openai", "EleutherAI/wikitext_document_level wikitext-2-raw-v1": "wikitext",
             "hazyresearch/based-squad default": "squad_completion", "hazyresearch/based-swde-v2 default": "swde", "hazyresearch/based-swde default": "swde",
             "google-research-datasets/nq_open": "nq_open", "openai/gsm8k main": "gsm8k"}

    def load(path, name=None, **kwargs):
        key = (path + " " + (name or "")).strip()
        task = names.get(key) or ("mmlu_" + name if path == "cais/mmlu" else "blimp_" + name if path == "nyu-mll/blimp" else None)
        if task is None:
            raise SystemExit("no invented data for " + key)
        splits = data[task]
        rows = {"test": splits["test"], "validation": splits["test"]}
        rows["train"] = splits["test"] if path == "nyu-mll/blimp" else splits.get("train", splits["test"])
        if "dev" in splits:
            rows["dev"] = splits["dev"]
        return datasets.DatasetDict({split: datasets.Dataset.from_list(list(some)) for split, some in rows.items()})
    return load


def make_model(folder, size, texts):
    """A random Llama with a byte-level BPE trained on the items."""
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    t = Tokenizer(models.BPE())
    t.pre_tokenizer, t.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    vocab = {"small": 600, "medium": 8000}[size]
    t.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=vocab, special_tokens=["<s>", "</s>"], show_progress=False,
                                                     initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    t.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=t, bos_token="<s>", eos_token="</s>", clean_up_tokenization_spaces=False)
    fast.save_pretrained(folder)
    shape = {"small": dict(hidden_size=64, intermediate_size=160, num_hidden_layers=3, num_attention_heads=4, vocab_size=640),
             "medium": dict(hidden_size=512, intermediate_size=1408, num_hidden_layers=8, num_attention_heads=8, vocab_size=32000)}[size]
    config = transformers.LlamaConfig(num_key_value_heads=2, max_position_embeddings=1024, tie_word_embeddings=True, bos_token_id=0, eos_token_id=1,
                                      initializer_range=0.12 if size == "small" else 0.05, **shape)
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)


def run_hymba(args, folder, tasks):
    command = [args.program, "eval", folder + "/model", "--tasks", ",".join(tasks), "--data", folder + "/data", "--out", folder + "/out",
               "--log-samples", "--bootstrap", "0", "--threads", str(args.threads), "--max-length", "1024"]
    if args.shots is not None:
        command += ["--shots", str(args.shots)]
    begin = time.time()
    done = subprocess.run(command, capture_output=True, text=True)
    seconds = time.time() - begin
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    return json.load(open(folder + "/out/results.json")), seconds, done.stderr


def run_harness(args, folder, names, data):
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    datasets.load_dataset = fake_loader(data)
    torch.set_num_threads(args.threads)
    model = HFLM(pretrained=folder + "/model", tokenizer=folder + "/model", device="cpu", dtype="float32", batch_size=args.batch, max_length=1024)
    begin = time.time()
    all = {"samples": {}, "results": {}}
    for some, shots in split_by_shots(names, args.shots):
        results = lm_eval.simple_evaluate(model=model, tasks=some, num_fewshot=shots, bootstrap_iters=0, log_samples=True, limit=None)
        for key in all:
            all[key].update(results[key])
    return all, time.time() - begin


def split_by_shots(names, shots):
    """mmlu has five worked examples here where nothing else is said; the harness' files leave that to the caller."""
    if shots is not None:
        return [(names, shots)]
    mmlu = [n for n in names if n.startswith("mmlu_")]
    return [(some, shots) for some, shots in ((mmlu, 5), ([n for n in names if n not in mmlu], None)) if some]


def near(a, b, tolerance):
    return abs(a - b) <= tolerance * max(1.0, abs(b))


def compare_samples(task, mine, theirs):
    """Log-likelihoods, greedy flags, responses and scores, sample by sample."""
    wrong, compared = [], 0
    for sample in theirs:
        doc, own = sample["doc_id"], mine[sample["doc_id"]]
        if sample["arguments"] and "resps" in own:
            for i, response in enumerate(sample["resps"]):
                compared += 1
                r = response[0]
                theirs_ll = (r[0], r[1]) if isinstance(r, (list, tuple)) else (r, None)
                ours_ll = own["resps"][i][0] if task != "wikitext" else [own["loglikelihood"], None]
                if not near(ours_ll[0], float(theirs_ll[0]), 1e-3):
                    wrong.append("doc %d request %d: %.5f against %.5f; %r" % (doc, i, ours_ll[0], float(theirs_ll[0]), sample["arguments"][i]))
                elif theirs_ll[1] is not None and task != "wikitext" and bool(theirs_ll[1]) != ours_ll[1]:
                    wrong.append("doc %d request %d: greedy differs" % (doc, i))
        elif "response" in own:
            compared += 1
            text = sample["resps"][0][0]
            if text.strip() != own["response"].strip():
                wrong.append("doc %d: response %r against %r" % (doc, own["response"][:80], text[:80]))
        for key in ("acc", "acc_norm", "contains"):
            if key in sample and key in own and not near(own[key], float(sample[key]), 1e-4):
                wrong.append("doc %d: %s %s against %s" % (doc, key, own[key], sample[key]))
        if "exact_match" in sample and own.get("exact_match," + sample["filter"]) != sample["exact_match"]:
            wrong.append("doc %d: exact_match %s; %r" % (doc, sample["filter"], sample["resps"]))
    return wrong, compared


def compare(tasks, ours, theirs, folder):
    bad = 0
    for task in sorted(theirs["samples"]):
        parent = "mmlu" if task.startswith("mmlu_") else "blimp" if task.startswith("blimp_") else task
        mine = [json.loads(line) for line in open("%s/out/samples_%s.jsonl" % (folder, parent))]
        if parent != task:
            group = task[len(parent) + 1:]
            mine = [sample for sample in mine if sample["group"] == group]
        wrong, compared = compare_samples(task, mine, theirs["samples"][task])
        bad += len(wrong)
        print("%-28s %4d requests%s" % (task, compared, "" if not wrong else "  %d DIFFER" % len(wrong)))
        for line in wrong[:3]:
            print("    " + line)
    for task, metrics in theirs["results"].items():
        for key, value in metrics.items():
            if not isinstance(value, float) or "sample_len" in key or key not in ours["results"].get(task, {}):
                if isinstance(value, float):
                    print("    not in our results: %s %s = %.5f" % (task, key, value))
                continue
            found = ours["results"][task][key]
            if found == "N/A" or not near(found, value, 1e-3 if "perplexity" in key or "bits" in key else 1e-6):
                print("    %s %s: %s against %s" % (task, key, found, value))
                bad += 1
    return bad


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--items", type=int, default=24)
    parser.add_argument("--size", default="small")
    parser.add_argument("--tasks", default="")
    parser.add_argument("--shots", type=int)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", default="16")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--work", default="")
    args = parser.parse_args()
    args.batch = int(args.batch) if args.batch.isdigit() else args.batch
    args.program = os.path.abspath(args.program)
    data = Maker(5, args.items).all()
    tasks = args.tasks.split(",") if args.tasks else sorted({n.split("_")[0] if n.startswith(("mmlu_", "blimp_")) else n for n in data})
    names = []
    for task in tasks:
        names += [n for n in data if n.startswith(task + "_")] if task in ("blimp", "mmlu") else [task]
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.work or temporary
        for name in ("data", "model", "out"):
            os.makedirs(folder + "/" + name, exist_ok=True)
        write_data(data, folder + "/data")
        texts = [v for splits in data.values() for rows in splits.values() for row in rows for v in row.values() if isinstance(v, str)]
        make_model(folder + "/model", args.size, texts)
        ours, our_seconds, log = run_hymba(args, folder, tasks)
        theirs, their_seconds = run_harness(args, folder, names, data)
        bad = compare(tasks, ours, theirs, folder)
        requests = sum(len(s["arguments"]) for rows in theirs["samples"].values() for s in rows)
        scoring = float(ours["total_evaluation_time_seconds"])
        print("%d requests, %d threads: lm-eval %.1f requests/s (without loading the model); hymba %.1f requests/s (%.1f with its start): %.1f x" % (
            requests, args.threads, requests / their_seconds, requests / scoring, requests / our_seconds, their_seconds / scoring))
        print("%d differences" % bad)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
