"""Makes docs/results.md and the READMEs' figures from benchmarks/results/*.json; with ``--check`` it only compares."""

from __future__ import annotations

import functools
import json
import math
import operator
import re
import statistics
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from common import processor

from fusevae.training.recipes import today

ROOT = Path(__file__).resolve().parent.parent
NATS = ("log_likelihood", "densities")  # of which the third decimal says nothing


def conditions_row(arm: str, one: dict[str, Any], column: str) -> tuple[str, str, str]:
    """How far an arm has what was asked for in a column."""
    found, what = one["asked"][column], f"Asked for, `{arm}` after {one['seconds']:.0f} s on {one['device']}: {column}"
    of_class = found["accuracy"] is not None
    value, key = (found["accuracy"], "accuracy") if of_class else (found["rank_correlation"], "rank_correlation")
    low, high = found["intervals"][key]
    if of_class:
        least = 0.95 if arm.startswith("digits") else 0.9 if arm.startswith("text") else 0.8
        figure = f"{value:.1%} ({low:.1%} to {high:.1%}), real {found['real_accuracy']:.1%}: {found['part']:.3f}"
        return what, figure, f"at least {least:g} of the accuracy on real examples"
    return what, f"rank correlation {value:.3f} ({low:.3f} to {high:.3f}), {one['validity']:.1%} valid", "at least 0.8"


def rows(name: str, f: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What was measured, the figure, and what was asked for."""
    if name == "mnist_vae":
        ll = f["evaluation"]["log_likelihood"]
        figure = f"{f['nll']:.2f} ± {ll['stderr']:.2f} nats"
        what = f"MNIST, one layer: test NLL, k = {ll['importance_samples']:,}, all {f['evaluation']['n']:,} images"
        what += f", after {f['epochs']} epochs in {f['training_minutes']:.1f} minutes"
        return [(what, figure, "at most 88.5 in 30 minutes (published, 3,280 epochs: 86.76)")]
    if name == "conditions":
        return [conditions_row(arm, one, column) for arm, one in f.items() for column in one["asked"]]
    if name == "answer":
        each = f["sets"].values()
        within, named = (
            sum(test(one) for one in each)
            for test in (lambda o: o["within"], lambda o: o["agrees"].get("samples", False))
        )
        what = f"`bench --total {f['total']}` on {', '.join(f['sets'])}"
        return [
            (f"{what}: ended within the time", f"{within} of {len(f['sets'])}", "all, 10 % over at most"),
            (f"{what}: best samples by another judge, too", f"{named} of {len(f['sets'])}", "at least 4 of 5"),
        ]
    if name == "failures":
        good = {kind: [m for model, m in of.items() if model.startswith("good")] for kind, of in f.items()}
        found = []
        for kind, of in f.items():
            bad = {model: m for model, m in of.items() if not model.startswith("good")}
            figure = f"{sum(m['right'] for m in bad.values())} of {len(bad)}; "
            figure += f"{sum(not m['right'] for m in good[kind])} of {len(good[kind])} good ones accused"
            found.append((f'Made failures of {kind} ({", ".join(bad)}): named by "is it good?"', figure, "all; none"))
        return found
    if name == "equal_seeds":
        return [
            (
                f"Two trainings of `{of['recipe']}` on {data} with other seeds: equal for {purpose}",
                f"{equal} of {of['pairs']}",
                "at least 9 of 10",
            )
            for data, of in f.items()
            for purpose, equal in of["equal"].items()
        ]
    if name == "tuning":
        return [
            (
                f"`tune {one['recipe']} --total {f['total']}` on {data}, better than its defaults after as long by",
                f"{one['gain']:+.2f} nats ({one['interval'][0]:+.2f} to {one['interval'][1]:+.2f})",
                "above 0 on 2 of 3, never below",
            )
            for data, one in f["sets"].items()
        ]
    if name == "mutants":
        return [("Faults of the seams that a test notices", f"{f['killed']} of {f['n']}", "all, of at least 30")]
    if name == "training_speed":
        cost = f"{100 * f['cost_of_clipping_and_averaging']:.1f} %"
        named = {
            "library_over_hand_written": (
                "Training, with defaults, against a hand-written loop (above 1 is faster)",
                "at least 0.97",
            ),
            "library_over_hand_written_plain": ("The same, clipping and averaging off in both", ""),
            "library_over_pythae": ("Training, clipping and averaging off, against Pythae 0.1.2", "at least 1.8"),
            "hand_written_over_pythae": ("The hand-written loop against Pythae 0.1.2", ""),
        }
        return [*ratios(f, named), ("What clipping and averaging cost", cost, "")]
    if name == "likelihood_speed":
        what = "Likelihood, k = 5,000" + (
            f", against Pythae 0.1.2 at its fastest ({f['pythae_best'].split(', ')[1]})" if f["pythae_best"] else ""
        )
        seconds = f"{1000 * f['seconds_per_image']['library']:.0f} ms an image"
        ratio = f["library_over_pythae"]
        return [(what, f"{ratio:.2f} ({seconds})" if ratio else seconds, "at least 2.5" if ratio else "")]
    if name == "startup":
        return [
            ("`fusevae --help`", f"{f['help_seconds']:.2f} s", "under 0.3 s"),
            ("`import fusevae` against `import torch`", f"{f['import_fusevae_over_import_torch']:.2f}", "at most 1.15"),
            *ratios(f, {"training_over_import_torch": ("A training of two steps against `import torch`", "")}),
        ]
    if name == "fuzz":
        n = f["data"] + f["files"]
        return [
            (
                f"Mutations of valid files of every format ({n}): neither a result nor one line",
                f"{len(f['wrong'])}",
                "none",
            )
        ]
    if name == "mending":
        n, worse = f["settings"], len(f["worse_for_it"])
        text = f"{f['well_with']} with mending, {f['well_without']} without; {worse} worse for it"
        return [(f"{n} trainings made to fail: how many end well", text, "25 of 30, none worse")]
    if name == "semi":
        found = []
        for arm, of in ((arm, of) for arm, of in f.items() if arm != "command"):
            what = f"Semi-supervised, {arm}, {of['labels']:,} labels of {of['rows']:,}: test error, `semi-vae`"
            asked = "" if of["asked"] is None else f"at most {of['asked']:.2%}"
            each = {key: of[key] for key in ("error", "alone")}
            several = {k: f" ± {v['stderr']:.2%}" if "stderr" in v else " (one seed)" for k, v in each.items()}
            figure, alone = (f"{v['value']:.2%}{several[k]}" for k, v in each.items())
            found += [(what, figure, asked), (f"The same, its classifier on the labels alone, {arm}", alone, "")]
        return found
    if name == "text_to_speech":
        return [row for of in f["runs"].values() for row in said(of)]
    if name == "kill":
        timed = {name: task for name, task in f.items() if task.get("asked")}
        bits = {name: task for name, task in f.items() if name not in timed}
        kills = sum(task["kills"] for task in bits.values())
        same = "equal bit by bit" if all(task["bit_identical"] for task in bits.values()) else "DIFFERENT"
        found = [(f"{kills} random SIGKILLs in {', '.join(bits)}: what is left at the end", same, "equal")]
        for name, task in timed.items():
            outcome = "the same" if task["same"] else "ANOTHER"
            what = (
                f"`{name}` of {task['asked']:.0f} s killed {task['kills']} times on the way: verdict, time of all calls"
            )
            found.append((what, f"{outcome}, {task['seconds']:.0f} s", "the same, 10 % over at most"))
        return found
    if name == "mnist_models":
        asked = {"iwae": "at most 87.5", "hvae-vamp": "at most 85.5", "ladder-vae": "at most 85.5"}
        found = []
        for m in f["models"].values():
            what = f"MNIST, `{m['recipe']}`, {m['epochs']} epochs: test NLL, k = {m['k']:,}, {m['n']:,} images"
            figure = f"{m['nll']['value']:.2f} ± {m['nll']['stderr']:.2f} nats"
            found.append((what, figure, asked.get(m["recipe"], "")))
        least = {"vamp-vae": "at least 0.8", "flow-vae": "at least 0.5"}
        for d in f["differences"]:
            what = f"MNIST, `{d['model']}` better than `{d['minus']}` by (the number is of epochs)"
            figure = f"{d['value']:+.2f} ± {d['stderr']:.2f} nats"
            found.append((what, figure, least.get(f["models"][d["model"]]["recipe"], "")))
        return found
    if name == "disentanglement":
        found = []
        names = {"mig": "MIG", "dci_disentanglement": "DCI disentanglement", "factor_vae": "FactorVAE score"}
        for key, word in names.items():
            a, b = f[key]["beta_tc"], f[key]["elbo"]
            figure = f"{a['mean']:.3f} ± {a['stderr']:.3f} against {b['mean']:.3f} ± {b['stderr']:.3f}"
            what = f"Generated shapes, beta-TC (6) against a plain VAE, {f['seeds']} seeds: {word}"
            found.append((what, figure, "above" if key == "mig" else ""))
        return found
    if name == "density_uses":
        far, imputed, denoised = f["anomaly"]["foreign"], f["imputation"], f["denoising"]["0.1"]
        found = []
        for kind in ("black", "half as large", "inverted"):
            figure = ", ".join(f"{v:.3f}" for v in far[kind]["auroc"].values())
            found.append((f"AUROC, digits against {kind} images: likelihood, typicality, distance", figure, ""))
        figure = f"{imputed['imputed_mean']:.3f} ({imputed['mean_image']:.3f}; {imputed['reconstructed_once']:.3f})"
        found.append(
            ("Lower half of digits imputed: squared error (of the mean image; reconstructed once)", figure, "")
        )
        figure = f"{denoised['noisy']:.3f}, {denoised['denoised_mean']:.3f}"
        return [*found, ("10 % of pixels flipped: squared error before and after denoising", figure, "")]
    if name == "tables":
        s, minutes = f["samples"], f["seconds"] / 60

        def row(made: dict[str, float], c2st: float) -> str:
            return f"{made['shape']:.3f}, {made['trend']:.3f}, {c2st:.3f}, {made['auc']:.3f}"

        what, figure = "Shape, Trend, C2ST, AUC of trees", row(f["made"], s["c2st"])
        real = row(f["training_rows"], s["real"]["c2st"])
        figure += f" (real rows {real})"
        found = [(f"Adult, {minutes:.0f} minutes of one core: {what}", figure, ".99, .98, .80, .910")]
        found.append(("Adult: samples nearer to training rows than to others", f"{s['dcr']:.1%}", "45 to 55 %"))
        peers = [kind for kind in ("CTGAN", "TVAE") if kind in f]
        return found + [(f"Adult, {kind}, as long: {what}", row(f[kind], f[kind]["c2st"]), "") for kind in peers]
    if name == "ten_tables":
        t = f["tables"]
        near = sum(g["real"]["columns"] - g["made"]["columns"] <= 0.03 for g in t.values())
        apart = sum(g["made"]["correlations"] - g["real"]["correlations"] <= 0.05 for g in t.values())
        filled = [g["imputation"] for g in t.values() if g["imputation"]]
        best = sum(g["fusevae"] <= min(g["knn"], g["iterative"]) for g in filled)
        legal = sum(g["made"]["legal"] == 1 and g["made"]["round_trip"] for g in t.values())
        what = f"{len(t)} tables, {f['budget']:g} s each: "
        found = [
            (what + "legal in every cell, names and dtypes as they were", f"{legal}", "all"),
            (what + "columns within .03 of real rows", f"{near}", "all"),
            (what + "correlations within .05 of real rows", f"{apart}", "all"),
        ]
        for of in ("AUC", "R2"):
            some = [g for g in t.values() if g["learned"] == of and g["real"]["learned"] is not None]
            close = sum(trees(g["made"]) >= g["real"]["learned"] - 0.02 for g in some)
            asked = "all" if of == "AUC" else ""
            found.append(
                (what + f"{of} of trees within .02 after training on samples", f"{close} of {len(some)}", asked)
            )
        sides = [(g["made"], [g[kind] for kind in ("CTGAN", "TVAE")]) for g in t.values() if "CTGAN" in g]
        if sides:
            ahead = [
                sum(ours["columns"] > max(p["columns"] for p in peers) for ours, peers in sides),
                sum(ours["correlations"] < min(p["correlations"] for p in peers) for ours, peers in sides),
                sum(trees(ours) > max(map(trees, peers)) for ours, peers in sides),
            ]
            about = "ahead of CTGAN and of TVAE in columns, correlations, what trees learn"
            found.append((what + about, f"{', '.join(map(str, ahead))} of {len(sides)}", "8 of 10"))
            found += over_seeds(what, [t, *f.get("others", {}).values()])
        return [*found, (what + "imputation at or under KNN and iterative", f"{best} of {len(filled)}", "8 of 10")]
    if name == "densities":
        found = []
        for table, g in f["tables"].items():
            ours, peers = g["default"], {key: g["classic"][key] for key in ("mixture", "kernel")}
            peers |= {kind: g[kind]["log_likelihood"] for kind in ("MAF", "NSF")}
            apart = {key: f", {b:.2f} ± {e:.2f} less" for key, (b, e) in g.get("apart", {}).items()}
            each = ", ".join(f"{key} {v:.2f}{apart.get(key, '')}" for key, v in peers.items())
            seconds = f"{ours['seconds']:.0f} s, {max(g[kind]['seconds'] for kind in ('MAF', 'NSF')):.0f} s"
            figure = f"{ours['log_likelihood']:.2f} ({each}; {seconds})"
            asked = f"at least {max(peers.values()):.2f}"
            found.append((f"Log-likelihood of held-out rows, {table}, the default: {ours['recipe']}", figure, asked))
        seeds = [f["tables"], *f.get("others", {}).values()]
        for table in f["tables"] if len(seeds) > 1 else ():
            # of each seed the one that came next is another peer
            apart = [min(each[table]["apart"].items(), key=lambda item: item[1][0]) for each in seeds]
            each = ", ".join(f"{value:+.2f} ± {error:.2f} ({key})" for key, (value, error) in apart)
            figure = f"{statistics.mean(value for _, (value, _) in apart):+.2f} ({each})"
            found.append(
                (f"Log-likelihood before the best of the four others, {table}, {len(seeds)} seeds", figure, "+0")
            )
        return found
    if name == "coverage":
        return [
            (
                f"90 % intervals of 39 imputations, `{recipe}`, {f['seconds']:g} s, {table}: hidden numbers within",
                f"{one['covered']:.1%} (of {one['hidden']:,})",
                "85 % to 95 %",
            )
            for table, each in f["tables"].items()
            for recipe, one in each.items()
        ]
    if name == "scale":
        return [
            (
                f"Large tables, {table} ({one['rows']:,} training rows): read, first step, a step of {one['batch']}, "
                "a sample",
                f"{s['read']:.1f} s, {s['first step']:.1f} s, {1000 * s['a step']:.0f} ms, "
                f"{1000 * s['a sample']:.2f} ms; {max(one['gigabytes'].values()):.2f} GB at most",
                "",
            )
            for table, one in f.items()
            for s in [one["seconds"]]
        ]
    if name == "counts":
        found = [
            ("Counts, log p(x | batch) of held-out cells: the truth", f"{f['truth']['log_likelihood']:.2f} nats", "")
        ]
        arms = {f"`counts-vae`, {f['budget']:g} s": f["counts-vae"]}
        for kind, g in f["scvi"].items():
            about = "latent depth" if kind == "latent" else "given each total, which is no bound of log p(x | batch)"
            arms[f"SCVI {g['version']}, {f['budget']:g} s, {about}"] = g
        for arm, g in arms.items():
            figure = f"{g['elbo']:.2f}, {g['log_likelihood']:.2f} nats"
            found.append((f"Counts, {arm}: ELBO, importance-weighted", figure, ""))
            figure = f"{g['batch']:.1%}, {g['type']:.1%}"
            chance = f"{f['truth']['batch']:.1%}, {f['truth']['type']:.1%}"
            found.append((f"Counts, {arm}: batch and type told from latents (chance, the truth)", figure, chance))
        return found
    if name == "fitted_prior":
        found = []
        for data, of in f.items():
            for kind, fitted in of["kinds"].items():
                what = f"{data}: FID of the plain VAE, with a fitted prior ({kind}), of reconstructions; closed"
                figure = f"{of['plain']['fid']:.2f}, {fitted['fid']:.2f}, {of['plain']['floor']:.2f}; "
                found.append((what, f"{figure}{100 * fitted['closed']:.0f} %", "at least 60 %"))
        return found
    if name == "collapse":
        return [
            (
                f"MADE decoder on MNIST of 7 x 7, {case}: active units, I(x; z), NLL",
                f"{g['active_units']}, {g['mutual_information']:.2f} nats, {g['nll']:.2f} nats",
                "KL under 0.5" if case == "plain" else "10 units, 3 nats, within 0.5 of the plain one",
            )
            for case, g in f.items()
        ]
    if name == "explorer":
        rows = [
            (f"Explorer, a map of {f['points']:,} points opens", f"{f['opens_s']:.1f} s", "under 3 s"),
            (
                "the same from nothing: first points, all encoded",
                f"{f['first_points_s']:.1f}, {f['all_encoded_s']:.0f} s",
                "",
            ),
        ]
        rows += [
            (
                f"Explorer, `conv-vae` on 28 x 28: {what} to picture, median, 95th percentile",
                f"{f[what]['median_ms']:.0f}, {f[what]['p95_ms']:.0f} ms",
                "under 50 ms",
            )
            for what in ("hover", "slider")
        ]
        rows.append((f"Explorer, {f['actions']:,} random actions", f"{f['errors']} errors in the console", "none"))
        watched = f["training"]
        bits = "the same bits" if watched["same_bits"] else "other bits"
        share = f"{100 * watched['share_of_a_core']:.1f} % of a core, {bits}"
        return [*rows, ("Explorer, a training that is watched", share, "at most 2 %, the same bits")]
    if name == "diagnosis_time":
        return [
            (f"Diagnosis, its share of a training: {what}", f"{100 * g['share']:.1f} %", "at most 5 %")
            for what, g in f.items()
        ]
    if name == "stability":
        figure = f"{f['crashes']} crashes, {f['not_finite']} not finite, {f['trained']} trained, "
        figure += f"{f['said_what_was_wrong']} said what was wrong, {len(f['silent'])} did not"
        return [(f"{f['trainings']} trainings with bad settings", figure, "no crash, at least 30 trained, none silent")]
    if name == "image_flows":
        return [
            (
                f"MNIST in logit space, `{model}`: test log-likelihood, log p(y), 10,000 images",
                f"{g['log_likelihood']:.1f} ± {g['stderr']:.1f} nats",
                f"at least {g['wanted']:.0f} (published {g['published']})" if g.get("wanted") else "",
            )
            for model, g in f.items()
        ]
    if name.startswith("pixel_vae"):
        what = f"MNIST, `{f['recipe']}`: test NLL, {f['images']:,} images, after {f['training_minutes']:.0f} minutes"
        asked = "at most 82.5 after 60 minutes, KL over 5"
        return [(what, f"{f['nll']:.2f} nats, KL {f['kl']:.1f}", asked)]
    if name == "pixel_sampling":
        return [
            (
                f"Sampling `{m}`, batch of {n}, against whole passes",
                f"{g['ratio']:.1f}",
                "at least 10" if n == "1" else "",
            )
            for m, each in f.items()
            for n, g in each.items()
        ]
    if name == "flow_speed":
        return [
            ("Training a flow, against zuko's own", f"{f['library_over_zuko']:.2f}", "at least 0.97"),
            ("Training Glow, against a loop by hand", f"{f['library_over_hand_written_glow']:.2f}", "at least 0.95"),
        ]
    if name == "diffusion_speed":
        figure = f"{f['library_over_hand_written']:.2f}"
        return [("Training diffusion, against a hand-written loop", figure, "at least 0.95")]
    if name == "gan_speed":
        step = f"{f['vae_gan_step_over_hand_written']:.2f}"
        return [
            ("Training a GAN, against a hand-written loop", f"{f['gan_speed_over_hand_written']:.2f}", "at least 0.95"),
            ("VAE-GAN's step over a hand-written one with a shared forward", step, "at most 1.05"),
        ]
    if name == "speech_speed":
        each = f["library_over_hand_written"].items()
        return [(f"Training `{of}`, against a hand-written loop", f"{one:.2f}", "at least 0.95") for of, one in each]
    if name == "pairs":
        trained = f["counts"]["trained, sampled, saved and read"]
        figure = f"{trained:,} trained, {f['triples'] - trained:,} refused, {len(f['faults'])} not as the table says"
        return [(f"Every (posterior, prior, decoder): {f['triples']:,} triples", figure, "0 not as the table says")]
    if name.startswith("fusions"):
        runs = list(f["seeds"].values())
        data = {"mnist": "MNIST", "cifar10": "CIFAR-10"}[f["data"]]
        found = []
        for model, g in runs[0].items():
            fid = statistics.fmean(run[model]["fid"] for run in runs)
            floor = f" ({statistics.fmean(run[model]['floor'] for run in runs):.2f})" if g["floor"] is not None else ""
            seeds = ", ".join(f["seeds"])
            what = f"{data}, {f['budget']} each, seed {seeds}: FID of {g['kind']}s of `{model}` (its floor)"
            figure = f"{fid:.2f}{floor}"
            if (g["support"] or "").startswith("mass on {0..255}"):
                figure += f"; {statistics.fmean(run[model]['log_likelihood'] for run in runs):.1f} nats"
            found.append((what, figure, ""))
        found.append((f"{data}: FID of real images", f"{next(iter(runs[-1].values()))['real']:.2f}", ""))
        if "vae_gan_over_vae" in f:
            fid, floor, error = (f[f"vae_gan_{key}over_vae"]["mean"] for key in ("", "floor_", "feature_error_"))
            after = f"after {f['budget']} each"
            two = (statistics.fmean(run[one]["fid"] for run in runs) for one in ("vae-gan", "vae"))
            each = " and ".join(f"{value:.2f}" for value in two)
            found.append((f"FID of `vae-gan` over that of its VAE, {after}", f"{fid:.2f} ({each})", "at most 0.6"))
            found.append((f"FID of reconstructions of `vae-gan` over its VAE's, {after}", f"{floor:.2f}", "at most 1"))
            found.append((f"Error of their features over its VAE's, {after}", f"{error:.2f}", "at most 1"))
        if "flow_prior_gains" in f:
            gain = f"{f['flow_prior_gains']['mean']:+.1f} nats"
            found.append(("`flow-logistic-vae` better than `logistic-vae` by", gain, "above 0"))
        share = {model: f"{100 * g['mean']:.0f} %" for model, g in f.get("closed", {}).items()}
        return [*found, *((f"`{m}` closes of the way to the best floor", v, "at least 70 %") for m, v in share.items())]
    if name in TEXT:
        return TEXT[name](f)
    raise SystemExit(f"no row is written for the benchmark {name!r}: add it to benchmarks/table.py")


def took(m: dict[str, Any]) -> str:
    """How long a model was trained, and where that was not the processor of the others."""
    on, minutes = m.get("trained_on", ""), m["training_minutes"]
    return f"{minutes:.{int(minutes < 10)}f} minutes" + (f" of an {on}" if on.startswith("NVIDIA") else "")


def captions(f: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Language models and VAEs of captions."""
    found = []
    for name, m in f["models"].items():
        figure = f"{m['nll']:.2f} ± {m['nll_stderr']:.2f} nats"
        if "kl" in m:
            about = f"KL {m['kl']:.2f}, I(x; z) {m['mutual_information']:.2f}, {m['active_units']} active"
            figure += f"; {about}; BLEU {m['reconstruction']['bleu']:.2f}"
        asked = {"high-rate": "BLEU at least 0.5"} | dict.fromkeys(LATENT, "I over 3 nats, 10 active")
        found.append((f"Captions, `{name}`, {took(m)}: NLL of a caption", figure, asked.get(name, "")))
        s = m["samples"]
        more = ", ".join(f"{s[k] / s['real'][k]:.2f}" for k in ("distinct_1", "distinct_2"))
        judged = "0.8 to 1.3; 0.9 to 1.1" if name in LATENT else ""
        what = f"Captions, samples of `{name}` over real ones: perplexity under the judge; distinct-1, distinct-2"
        found.append((what, f"{s['ratio']:.2f}; {more}", judged))
    for d in f["differences"]:
        low, high = d["interval_percent"]
        what = f"Captions, `{d['model']}`: NLL above that of `{d['beside']}`"
        wanted = "at most 1.5 %" if d["model"] in LATENT else ""
        found.append((what, f"{d['percent']:.2f} % (95 % between {low:.2f} and {high:.2f})", wanted))
    for name in sorted(LATENT & f["models"].keys()):
        i = f["models"][name]["interpolation"]
        p, half = i["perplexity"], len(i["perplexity"]) // 2
        figure = f"{p[half]:.1f}, {(p[0] + p[-1]) / 2:.1f}"
        what = f"Captions, `{name}`, perplexity of interpolations under the judge: middle, ends"
        found.append((what, figure, "as fluent in the middle"))
        figure = ", ".join(f"{v:.2f}" for v in i["overlap_with_end"])
        what = f"Captions, `{name}`, interpolations: overlap of words with the end, step by step"
        found.append((what, figure, "rising"))
    return found


def shakespeare(f: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Characters of a play."""
    asked = {"character-transformer": "at most 1.75 in 20 minutes", "wide": "at most 1.48"}
    return [
        (f"Shakespeare, `{name}`, {took(m)}: nats a character", f"{m['nats_per_character']:.3f}", asked.get(name, ""))
        for name, m in f["models"].items()
    ]


def molecules(f: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Molecules from the prior, and the search for a property."""
    found = []
    for name, m in f["models"].items():
        q = m["quality"]
        scores = (q[k] for k in ("validity", "uniqueness", "novelty", "kl_score", "fcd_score"))
        figure = ", ".join("–" if score is None else f"{score:.4f}" for score in scores)
        what = f"Molecules, `{name}`, {took(m)}: validity, uniqueness, novelty, KL, FCD score"
        asked = {"molecules-vae": "0.80", "selfies-vae": "1.0", "wide-vae": "0.92"}.get(name)
        found.append((what, figure, f"{asked}, 0.998, 0.95, 0.93" if asked else ""))
        if "latents" in m:
            figure = f"{m['latents']['mutual_information']:.2f} nats"
            found.append((f"Molecules, `{name}`: I(x; z), at most log 500", figure, "over 3 nats"))
        if "optimisation" in m:
            o = m["optimisation"]
            figure = ", ".join(f"{o[way]['gain']:.3f}" for way in ("evolution", "unrefined", o["best random"]))
            what = f"Molecules, `{name}`: QED raised within similarity 0.4 (unrefined; by random search)"
            found.append((what, figure, "at least 0.15, above random search"))
    return found


def speech(f: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Codecs by what is understood and how it sounds; speech models by what a classifier hears."""

    def figure(one: dict[str, Any]) -> str:
        return ", ".join("–" if one[name] is None else f"{one[name]:.3f}" for name in ("stoi", "pesq"))

    found = []
    asked = {"1250": ("above .793, 2.39", "Codec2 1300"), "3125": ("above .844, 2.81", "Codec2 3200")}
    for name, m in f["models"].items():
        if "rates" in m:
            for bits, one in m["rates"].items():
                what = f"Speech, `{name}` at {float(bits):,.0f} bit/s, {took(m)}: STOI, PESQ"
                limit, peer = asked.get(bits, ("", ""))
                beside = f" ({peer}: {figure(f['peers'][peer])})" if peer in f["peers"] else ""
                found.append((what, figure(one) + beside, limit))
            found.append((f"Speech, `{name}`: codes used, of the least used", f"{m['codes_used']:.0%}", "95 %"))
            continue
        for part, limit in (("reconstructions", "97 %, 97 %"), ("samples", "95 %, 90 %")):
            real, made = m["accuracy"]["real"], m["accuracy"][part]
            each = ", ".join(f"{a / b if b else 0:.1%}" for a, b in zip(made, real, strict=True))
            what = f"Speech, `{name}`, {took(m)}: accuracies on {part} over those on real clips"
            found.append((what, each, f"{limit} (digit, speaker; the last is of all)"))
        j = m["judge"]
        found.append((f"Speech, `{name}`: Fréchet distance of samples", f"{j['fid']:.3f}", ""))
    for name, m in f.get("ablation", {}).items():
        for prior, one in m.get("priors", {"": m}).items():
            arm = f"prior {prior}" if prior else name
            made = one["heard"]["samples"]
            what = (
                f"Speech, `speech-vae`, {arm}, {took(m)}: digit, speaker heard in samples; Fréchet distance; real time"
            )
            each = ", ".join(f"{a:.1%}" for a in made["accuracy"][:2])
            found.append((what, f"{each}; {made['fid']:.1f}; {one['real_time']:.3f}", ""))
    peers = [(f"Speech, {name} of Debian: STOI, PESQ", figure(one), "") for name, one in f["peers"].items()]
    return found + peers


def said(f: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What a model that says texts says of unseen strings."""
    if "first" in f:
        what = f"2,000 captions said by espeak-ng, `{f['recipe']}`, {f['minutes']} minutes ({f['steps']:,} steps)"
        return [(f"{what}: validation loss, first and last", f"{f['first']:,.0f}, {f['last']:,.0f}", "it falls")]
    what = f"Unseen strings of 3 to 5 digits said by `{f['recipe']}` after {f['minutes']} minutes ({f['speaker']})"
    real, rough = f["word_errors_real"], f["word_errors_griffin_lim"]
    seen = "these through Griffin-Lim" if f["recipe"] == "text-to-speech" else "clips of the corpus"
    heard = f"{f['word_errors']:.1%} ({real:.1%} of real ones, {rough:.1%} of {seen})"
    found = [(f"{what}: word errors", heard, "at most 10 % (real ones at most 3 %)")]
    if "mel" in f:
        near = f"{f['mel']:.2f} dB, {f['spectral']:.3f}, {f['energy']:.3f} ({f['energy_real']:.3f} of real ones)"
        found.append(("The same: log-mel and spectral distance of reconstructions, energy distance of said", near, ""))
    return [
        *found,
        ("The same: deviation of the length from the `rate` asked for, at most", f"{f['rate']:.1%}", "at most 5 %"),
        ("The same: real-time factor, one string at a time", f"{f['real_time_factor']:.3f}", "at most 0.066"),
    ]


def text_speed(f: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Ratios of speed of language models."""
    named = {
        "library_over_hand_written": ("Training a language model, against a hand-written loop", "at least 0.95"),
        "cached_over_whole_passes": ("Writing 200 tokens with the cache, against whole passes, one text", "at least 5"),
        "cached_over_whole_passes_batch_32": ("The same with the cache, 32 texts at once", "at least 5"),
        "library_over_transformers_batch_1": (
            "Writing 200 tokens, against `generate` of transformers, one text",
            "at least 1.5",
        ),
        "library_over_transformers_batch_32": ("The same, 32 texts at once", "at least 1.5"),
    }
    return ratios(f, named)


def over_seeds(what: str, seeds: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Of the tables that were measured with several seeds: how many are near to real rows, and ahead of the better of
    the peers, by the means, and how many surely so, by two standard errors of these."""
    if len(seeds) < 2:
        return []
    names = [name for name in seeds[0] if all(name in each for each in seeds)]
    what = f"{what}means of {len(seeds)} seeds: "

    def gaps(key: str, sign: int, others: tuple[str, ...]) -> list[tuple[float, float]]:
        def one(g: dict[str, Any]) -> float:
            of = (
                (lambda h: max(-10.0, trees(h))) if key == "learned" else operator.itemgetter(key)
            )  # some learn nothing
            ours, *beside = (of(g[kind]) for kind in ("made", *others))
            return sign * ours - max(sign * v for v in beside)

        return [(statistics.fmean(v), statistics.stdev(v) / len(v) ** 0.5) for v in
                ([one(each[name]) for each in seeds] for name in names)]  # fmt: skip

    found = []
    for key, sign, limit in (("columns", 1, 0.03), ("correlations", -1, 0.05)):
        each = gaps(key, sign, ("real",))
        near, far = sum(mean >= -limit for mean, _ in each), sum(mean < -limit - 2 * error for mean, error in each)
        figure = f"{near} of {len(names)}; surely further {far}"
        found.append((f"{what}{key} within {limit:g} of real rows", figure, "all"))
    for key, sign, about in (("columns", 1, "columns"), ("correlations", -1, "correlations"), ("learned", 1, "trees")):
        each = gaps(key, sign, ("CTGAN", "TVAE"))
        ahead, sure, behind = (
            sum(test) for test in zip(*((m > 0, m > 2 * e, m < -2 * e) for m, e in each), strict=True)
        )
        text = f"{ahead} of {len(each)}; surely {sure}, surely behind {behind}"
        found.append((f"{what}ahead of CTGAN and of TVAE in {about}", text, "8 of 10"))
    return found


def trees(figures: dict[str, Any]) -> float:
    """What trees learned from samples; of samples without some class, nothing."""
    return -math.inf if figures["learned"] is None else figures["learned"]


def ratios(f: dict[str, Any], named: dict[str, tuple[str, str]]) -> list[tuple[str, str, str]]:
    """Ratios by what is measured and what was asked for; those of arms that were not there are left out."""
    return [(what, f"{f[key]:.2f}", asked) for key, (what, asked) in named.items() if f.get(key) is not None]


LATENT = {"vae-transformer", "longer-vae", "longest-vae"}
TEXT = {
    "captions": captions,
    "shakespeare": shakespeare,
    "molecules": molecules,
    "text_speed": text_speed,
    "speech": speech,
}


Row = tuple[str, str, str]


def results() -> list[tuple[list[dict[str, Any]], Row]]:
    """The rows of every benchmark, each with its records, the newest last; one of several processors gives a range."""
    found: dict[tuple[str, str, int], list[tuple[dict[str, Any], Row]]] = {}
    for path in sorted((ROOT / "benchmarks" / "results").glob("*.json")):
        record, seen = json.loads(today(path.read_text())), Counter[str]()
        for row in rows(record["benchmark"], record["figures"]):
            seen[about := row[0].partition(" (")[0]] += 1
            found.setdefault((record["benchmark"], about, seen[about]), []).append((record, row))
    return [over_processors(same) for same in found.values()]


def over_processors(same: list[tuple[dict[str, Any], Row]]) -> tuple[list[dict[str, Any]], Row]:
    """One row of the same row on several processors: from the least to the greatest, each with its processor."""
    same = sorted(same, key=lambda found: found[0]["date"])
    what, figure, asked = same[-1][1]
    if len(same) > 1:
        each = sorted((number(row[1]), f"{row[1]} ({processor(of)})") for of, row in same)
        figure = f"{each[0][1]} to {each[-1][1]}"
    return [record for record, _ in same], (what, figure, asked)


def number(figure: str) -> float:
    """The number that a figure begins with."""
    found = re.match(r"[-+]?[\d.,]*\d", figure)
    return float(found[0].replace(",", "")) if found else 0.0


def page() -> str:
    """docs/results.md: every figure with what was asked for and its command."""
    lines = [
        "# Results",
        "",
        "Made by `python benchmarks/table.py` from `benchmarks/results/*.json`, which hold protocol,",
        "seed, hardware and versions. A command that names models is the newest of its report: the others were made by",
        "the same with their own names.",
        "",
        "| measured | figure | asked for | command |",
        "|---|---|---|---|",
    ]
    hardware = set()
    for records, row in results():
        for hw in (record["hardware"] for record in records):
            hardware.add(
                f"{hw['cpu']}, {hw['cores']} cores, {hw['gpu'] or 'no GPU'}, Python {hw['python']}, torch {hw['torch']}"
            )
        lines.append(f"| {' | '.join(row)} | `{records[-1]['command']}` |")
    return "\n".join([*lines, "", *(f"Hardware: {h}." for h in sorted(hardware)), ""])


#: how the rows begin that the READMEs show; docs/results.md has all of them
HEADLINES = (
    "MNIST, `vlae`: test NLL",
    "FID of `vae-gan` over that of its VAE, after 300s",
    "Captions, `vae-transformer`: NLL above",
    "Molecules, `molecules-vae`, ",
    "Adult, 14 minutes of one core",
    "Speech, `speech-codec` at 1,250 bit/s",
    "Unseen strings of 3 to 5 digits said by `text-to-speech`",
    "Training, with defaults, against a hand-written loop",
    "130 random SIGKILLs",
)


def headline() -> str:
    """The table of the READMEs: one row for each of the :data:`HEADLINES`."""
    rows = [row for _, row in results()]
    chosen = [[row for row in rows if row[0].startswith(start)] for start in HEADLINES]
    if wrong := [start for start, found in zip(HEADLINES, chosen, strict=True) if len(found) != 1]:
        raise SystemExit(f"{wrong[0]!r} begins no row, or several: mend HEADLINES in benchmarks/table.py")
    return "\n".join(["| measured | figure |", "|---|---|", *(f"| {what} | {fig} |" for ((what, fig, _),) in chosen)])


def readme(name: str) -> str:
    """A README with the headline figures between its two marks."""
    text, mark = (ROOT / name).read_text(), "<!-- results -->"
    start, end = text.index(mark), text.index("<!-- end of results -->")
    return f"{text[:start]}{mark}\n\n{headline()}\n\n{text[end:]}"


def tables_page() -> str:
    """docs/tables.md with what was measured on ten tables between its two marks."""
    path, start = ROOT / "docs" / "tables.md", "<!-- ten tables -->"
    text, found = path.read_text(), json.loads((ROOT / "benchmarks" / "results" / "ten_tables.json").read_text())
    lines = [
        "| table | rows x columns | legal | columns | correlations | learned from samples | imputation | density |",
        "|---|---|---|---|---|---|---|---|",
    ]
    f = found["figures"]
    seeds = [f["tables"], *f.get("others", {}).values()]
    for name, g in f["tables"].items():
        several = [each[name] for each in seeds if name in each]

        def mean(*path: str, several: Any = several) -> str:
            values = [functools.reduce(operator.getitem, path, each) for each in several]
            return "-" if None in values else f"{statistics.fmean(values):.{2 if path[0] in NATS else 3}f}"

        def each(key: str, g: Any = g, mean: Any = mean) -> str:
            shown = [mean(kind, key) for kind in ("made", "real", "CTGAN", "TVAE") if kind in g]
            return f"{shown[0]} ({', '.join(shown[1:])})"

        legal = min(one["made"]["legal"] for one in several)
        same = all(one["made"]["round_trip"] for one in several)
        filled, known = (mean("imputation", k) for k in ("knn", "iterative")), g.get("densities", {})
        cells = [
            *(name, f"{g['rows']:,} x {g['dims']}", f"{legal:.1%}{'' if same else ', dtypes differ'}"),
            *(each("columns"), each("correlations"), f"{g['learned']} {each('learned')}"),
            f"{mean('imputation', 'fusevae')} ({', '.join(filled)})" if g["imputation"] else "",
            f"{mean('log_likelihood')} ({', '.join(mean('densities', k) for k in known)})" if known else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    before, after = text.index(start) + len(start), text.index("<!-- end of ten tables -->")
    table = "\n".join(lines)
    return f"{text[:before]}\n\n{table}\n\n{text[after:]}"


if __name__ == "__main__":
    pages = {ROOT / name: readme(name) for name in ("README.md", "README.zh.md")}
    pages |= {ROOT / "docs" / "results.md": page(), ROOT / "docs" / "tables.md": tables_page()}
    for target, text in pages.items():
        if "--check" not in sys.argv:
            target.write_text(text)
        elif target.read_text() != text:
            raise SystemExit(f"{target.name} is not what the JSON files give: run python benchmarks/table.py")
