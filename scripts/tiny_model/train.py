"""Trains models/tiny: full precision first, then with the 4-bit weights simulated.

Writes the float32 master weights (in parts) and log.jsonl to --out; export.py quantizes them.
"""

import argparse
import json
import multiprocessing as mp
import os
import pathlib
import random
import threading
import time

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

import dialogs
from export import load_master
from model import CONFIG, Qwen2, head_loss

# Rows per micro-batch of each length; one step takes one micro-batch of each.
ROWS = {64: 512, 192: 192, 512: 64, 1024: 16}
LEAD = 30_000_000  # tokens produced ahead of use
POOL = 400  # micro-batches kept per length; the producers replace the oldest


def produce(queue, tokenizer_path, mix, seed, divisor):
    """Endless micro-batches, from a process of its own."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    encoder = dialogs.Encoder(Tokenizer.from_file(tokenizer_path), dialogs.MIXES[mix])
    rng = random.Random(f"train:{seed}")
    while True:
        for length, rows in ROWS.items():
            queue.put((length, *dialogs.batch(encoder, rng, length, max(1, rows // divisor))))


class Feed:
    """Keeps a pool of recent micro-batches on the device; never makes the trainer wait."""

    def __init__(self, args, device):
        self.device, self.pool = device, {length: [] for length in ROWS}
        self.made, self.used, self.rng = 0, 0, random.Random(args.seed)
        queue = mp.get_context("spawn").Queue(maxsize=64)
        self.queue = queue
        self.workers = [mp.get_context("spawn").Process(
            target=produce, daemon=True,
            args=(queue, str(args.model / "tokenizer.json"), args.mix, f"{args.seed}:{i}",
                  args.divisor))
            for i in range(args.workers)]
        for worker in self.workers:
            worker.start()
        threading.Thread(target=self._fill, daemon=True).start()
        while min(len(p) for p in self.pool.values()) < 4:
            time.sleep(0.05)

    def _upload(self, stream, *arrays):
        if stream is None:
            return [torch.from_numpy(a) for a in arrays]
        with torch.cuda.stream(stream):
            tensors = [torch.from_numpy(a).to(self.device) for a in arrays]
        for tensor in tensors:
            # Read on the default stream: its memory may be reused only after those reads.
            tensor.record_stream(torch.cuda.default_stream())
        stream.synchronize()
        return tensors

    def _fill(self):
        slots = dict.fromkeys(ROWS, 0)
        # A stream of its own: copies must not wait for the queued training kernels.
        stream = torch.cuda.Stream() if self.device == "cuda" else None
        while True:
            if self.made > 2 * self.used + LEAD:
                time.sleep(0.01)  # fresh enough: leave the processor to the trainer
                continue
            length, ids, weights = self.queue.get()
            weights = weights[:, 1:].astype(np.float32) / 4
            item = (*self._upload(stream, ids.astype(np.int64), weights), float(weights.sum()))
            pool = self.pool[length]
            if len(pool) < POOL:
                pool.append(item)
            else:
                pool[slots[length] % POOL] = item
            slots[length] += 1
            self.made += ids.size

    def step(self):
        self.used += sum(length * self.pool[length][0][0].shape[0] for length in ROWS)
        return [self.rng.choice(self.pool[length]) for length in ROWS]

    def close(self):
        for worker in self.workers:
            worker.terminate()


class HeldOut:
    """Held-out questions as padded rows, scored by teacher forcing.

    Every answer token being the most likely one, given the right ones before it, is the same
    condition as greedy decoding giving the exact answer.
    """

    def __init__(self, encoder, n, device):
        self.sets = {}
        for task in dialogs.HELD_OUT:
            rows, marks = [], []
            for prompt, answer in dialogs.held_out(task, n, seed=1):
                head = encoder.ids(dialogs.prompt_text([(prompt, None)]))
                tail = encoder.ids(answer + dialogs.IM_END)
                rows.append(head + tail)
                marks.append((len(head), len(tail)))
            width = max(map(len, rows))
            ids = np.full((n, width), encoder.end_of_text, np.int64)
            mask = np.zeros((n, width - 1), bool)
            for i, (row, (start, size)) in enumerate(zip(rows, marks)):
                ids[i, :len(row)] = row
                mask[i, start - 1:start - 1 + size] = True
            self.sets[task] = (torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device))

    @torch.no_grad()
    def scores(self, model, device):
        """Share of exact answers per task, with quantized weights."""
        out = {}
        table = model.table(True)
        for task, (ids, mask) in self.sets.items():
            right = 0
            for i in range(0, len(ids), 256):
                with autocast(device):
                    hidden = model.hidden(ids[i:i + 256], table, True)[:, :-1]
                    best = torch.nn.functional.linear(hidden, table).argmax(-1)
                wrong = (best != ids[i:i + 256, 1:]) & mask[i:i + 256]
                right += int((~wrong.any(-1)).sum())
            out[task] = round(right / len(ids), 4)
        return out


def autocast(device):
    return torch.autocast(device, torch.bfloat16, enabled=device == "cuda")


def learning_rate(args, step, progress):
    """Linear warm-up, constant until --fall-from, then linear to 1 %."""
    fall = max(0.01, 1 - max(0.0, progress - args.fall_from) / (1 - args.fall_from))
    return args.lr * min(1.0, (step + 1) / args.warmup) * fall


def save(model, out, parts=2):
    """float32 weights in `parts` files of about equal size."""
    state = {k: v.detach().float().cpu().contiguous() for k, v in model.state_dict().items()}
    share = sum(v.numel() for v in state.values()) / parts
    files, seen = [{} for _ in range(parts)], 0
    for name, value in state.items():
        files[min(parts - 1, int(seen / share))][name] = value
        seen += value.numel()
    for i, tensors in enumerate(files):
        save_file(tensors, out / f"master-{i}.safetensors")


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=pathlib.Path, default="models/tiny", help="has tokenizer.json")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--minutes", type=float, default=9, help="wall clock, compilation included")
    parser.add_argument("--steps", type=int, default=0, help="stop after so many steps instead")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--warmup", type=int, default=400, help="steps")
    parser.add_argument("--fall-from", type=float, default=0.4, help="share of the run")
    parser.add_argument("--mix", choices=sorted(dialogs.MIXES), default="main")
    parser.add_argument("--quantize-from", type=float, default=0.55, help="share of the run")
    parser.add_argument("--resume", type=pathlib.Path, help="directory with master-*.safetensors")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 2))
    parser.add_argument("--divisor", type=int, default=1, help="fewer rows a step, for small machines")
    parser.add_argument("--eval-every", type=float, default=60, help="seconds")
    parser.add_argument("--eval-count", type=int, default=512, help="held-out questions per task")
    parser.add_argument("--set", default="{}", help="JSON that overrides model config fields")
    return parser.parse_args()


class Trainer:
    def __init__(self, args):
        self.args, self.start = args, time.time()
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.manual_seed(args.seed)
        torch.set_float32_matmul_precision("high")
        self.config = CONFIG | json.loads(args.set)
        self.model = Qwen2(self.config).to(self.device)
        if args.resume:
            self.model.load_state_dict(load_master(args.resume))
        matrices = [p for p in self.model.parameters() if p.ndim == 2]
        others = [p for p in self.model.parameters() if p.ndim == 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
            lr=args.lr, betas=(0.9, 0.95), fused=self.device == "cuda")
        self.feed = Feed(args, self.device)
        encoder = dialogs.Encoder(Tokenizer.from_file(str(args.model / "tokenizer.json")))
        self.held_out = HeldOut(encoder, args.eval_count, self.device)
        self.log_file = open(args.out / "log.jsonl", "w", encoding="utf-8")
        self.layer_call, self.loss_call = self._calls()

    def _calls(self):
        def layer_call(layer, *inputs):
            return layer(*inputs)

        if self.device != "cuda":
            return layer_call, head_loss
        torch._dynamo.config.recompile_limit = 64
        # One compiled layer serves all layers: their weights are inputs to it.
        return (torch.compile(layer_call, dynamic=False), torch.compile(head_loss, dynamic=False))

    def progress(self, step):
        if self.args.steps:
            return step / self.args.steps
        return (time.time() - self.start) / (60 * self.args.minutes)

    def micro(self, ids, weights, total, quantized):
        with autocast(self.device):
            table = self.model.table(quantized)
            hidden = self.model.hidden(ids[:, :-1], table, quantized, self.layer_call)
            loss = self.loss_call(hidden, table, ids[:, 1:], weights) / total
        loss.backward()
        return loss.detach()

    def log(self, **fields):
        fields["seconds"] = round(time.time() - self.start, 1)
        line = json.dumps(fields)
        print(line, flush=True)
        self.log_file.write(line + "\n")
        self.log_file.flush()

    def run(self):
        step, tokens, last_eval, recent = 0, 0, time.time(), []
        while (progress := self.progress(step)) < 1:
            quantized = progress >= self.args.quantize_from
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(self.args, step, progress)
            batches = self.feed.step()
            total = sum(item[2] for item in batches)
            recent = (recent + [sum(self.micro(i, w, total, quantized) for i, w, _ in batches)])[-50:]
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            step += 1
            tokens += sum(item[0].numel() for item in batches)
            if step in (1, 100, 400) or time.time() - last_eval > self.args.eval_every:
                self.report(step, tokens, recent, quantized)
                last_eval = time.time()
        self.report(step, tokens, recent, True)
        self.feed.close()

    def report(self, step, tokens, recent, quantized):
        loss = float(sum(recent) / len(recent))
        if not np.isfinite(loss):
            raise RuntimeError(f"[train.run] loss is {loss} at step {step}; lower --lr")
        self.log(step=step, tokens=tokens, produced=self.feed.made, loss=round(loss, 5),
                 quantized=quantized, lr=self.optimizer.param_groups[0]["lr"],
                 scores=self.held_out.scores(self.model, self.device) if step >= 400 or
                 self.device == "cpu" else None)
        if step >= 400 or self.device == "cpu":
            save(self.model, self.args.out)


def main():
    args = parse()
    args.out.mkdir(parents=True, exist_ok=True)
    Trainer(args).run()


if __name__ == "__main__":
    main()
