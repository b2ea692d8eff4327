"""The Hub's own client, `huggingface_hub`, against a Hub. One case a run: hub_client.py CASE [ARGUMENT...].

What it is to find comes as JSON in EXPECTED; what it saw is the last line, as JSON.
"""

import hashlib
import json
import os
import sys
from pathlib import Path

from huggingface_hub import (
    HfApi, hf_hub_download, hf_hub_url, scan_cache_dir, snapshot_download, try_to_load_from_cache,
)
from huggingface_hub import errors

EXPECTED = json.loads(os.environ.get("EXPECTED", "null"))
TOKEN = os.environ.get("CLIENT_TOKEN") or False
api = HfApi(token=TOKEN)


def check(truth, *about):
    if not truth:
        raise AssertionError(*about)


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree(folder):
    """Every file below, by its path, with the SHA-256 of its bytes."""
    folder = Path(folder)
    return {str(p.relative_to(folder)): sha256(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def fails(kind, call):
    """The name of the error, which must be exactly that one."""
    try:
        call()
    except Exception as error:
        check(type(error) is kind, f"{type(error).__name__} for {kind.__name__}: {error}")
        return kind.__name__
    raise AssertionError(f"{kind.__name__} did not come")


def fetch(repo, *patterns):
    folder = snapshot_download(repo, token=TOKEN, allow_patterns=list(patterns) or None)
    check(tree(folder) == EXPECTED, tree(folder), EXPECTED)
    return {"folder": folder}


def local(repo, *patterns):
    """What is there without the network: a whole snapshot, and a cache that the client's own scan has no complaint of."""
    folder = snapshot_download(repo, local_files_only=True, allow_patterns=list(patterns) or None)
    if EXPECTED is not None:
        check(tree(folder) == EXPECTED, tree(folder), EXPECTED)
    scan = scan_cache_dir()
    check(not scan.warnings, [str(w) for w in scan.warnings])
    [found] = [r for r in scan.repos if r.repo_id == repo]
    revisions = {r.commit_hash: sorted(r.refs) for r in found.revisions}
    return {
        "folder": folder, "files": tree(folder), "size_on_disk": found.size_on_disk, "nb_files": found.nb_files, "revisions": revisions,
    }


def lists():
    ids = lambda **how: [m.id for m in api.list_models(**how)]
    every = ids()
    check(len(every) > 20 and len(set(every)) == len(every), every)
    check(ids(limit=7) == every[:7])
    coders = ids(search="coder awq")
    check(coders and all("coder" in i.lower() and "awq" in i.lower() for i in coders), coders)
    by_downloads = [m.downloads for m in api.list_models(sort="downloads", limit=5)]
    check(by_downloads == sorted(by_downloads, reverse=True) and len(by_downloads) == 5, by_downloads)
    newest = [m.last_modified for m in api.list_models(sort="last_modified", full=True)]
    check(newest == sorted(newest, reverse=True) and len(newest) == len(every), newest)
    check(set(ids(filter="gguf")) < set(every) and ids(filter=["gguf", "awq"]) == [])
    check(all(i.startswith("Qwen/") for i in ids(author="Qwen")) and ids(author="Qwen"))
    gated = list(api.list_models(gated=True, expand=["gated", "downloads", "safetensors"]))
    check(gated and all(m.gated in ("auto", "manual") and m.downloads for m in gated), gated)
    check(ids(pipeline_tag="feature-extraction") == ["BAAI/bge-large-en-v1.5"])
    return {"models": len(every)}


def info(repo):
    model = api.model_info(repo, files_metadata=True)
    check(model.id == repo and len(model.sha) == 40 and model.card_data.license == "apache-2.0", model)
    check(model.safetensors.total > 0 and model.gated is False and model.private is False, model)
    for file in model.siblings:
        check(file.size is not None and len(file.blob_id) == 40, file)
        if file.rfilename.endswith(".safetensors"):
            check(file.lfs.size == file.size and file.lfs.sha256 == EXPECTED[file.rfilename], file)
    check({s.rfilename for s in model.siblings} == set(EXPECTED), model.siblings)
    short = api.model_info(repo, expand=["downloads", "likes", "tags", "config"])
    check(short.downloads and short.config["architectures"] and short.sha is None, short)
    check(api.model_info(repo, revision=model.sha).sha == model.sha)
    listed = {f.path: f for f in api.list_repo_tree(repo, recursive=True)}
    check(set(listed) == set(EXPECTED), listed)
    check(all(f.lfs.sha256 == EXPECTED[p] for p, f in listed.items() if f.lfs), listed)
    expanded = list(api.list_repo_tree(repo, expand=True))
    check(all(f.last_commit.oid == model.sha for f in expanded), expanded)
    check([b.name for b in api.list_repo_refs(repo).branches] == ["main"])
    check(api.repo_exists(repo) and not api.repo_exists("no/such"))
    check(api.file_exists(repo, "config.json") and not api.file_exists(repo, "nope"))
    return {"sha": model.sha}


def many(repo, count):
    """A list that comes in pages, and one folder of it."""
    files = [f for f in api.list_repo_tree(repo, recursive=True) if hasattr(f, "blob_id")]
    check(len(files) == int(count) and len({f.path for f in files}) == len(files), len(files))
    check(len(api.list_repo_files(repo)) == int(count))
    folder = list(api.list_repo_tree(repo, "part-001"))
    check(len(folder) == 1000, len(folder))
    return {}


def one(repo, path):
    found = hf_hub_download(repo, path, token=TOKEN)
    check(sha256(found) == EXPECTED, found)
    again = hf_hub_download(repo, path, token=TOKEN, local_files_only=True)
    check(again == found and try_to_load_from_cache(repo, path) == found)
    return {"path": found}


def account():
    me = HfApi(token="hf_rehearsal").whoami()
    check(me["name"] == "rehearsal" and me["auth"]["accessToken"]["role"] == "read", me)
    try:
        HfApi(token="hf_wrong").whoami()
    except errors.HfHubHTTPError as error:
        check(error.response.status_code == 401, error)
    else:
        raise AssertionError("a wrong token was taken")
    return {}


def refusals(open_repo, gated, manual, private, disabled):
    get = lambda repo, path="config.json", **how: hf_hub_download(repo, path, token=TOKEN, **how)
    seen = [
        fails(errors.RepositoryNotFoundError, lambda: api.model_info("no/such")),
        fails(errors.RepositoryNotFoundError, lambda: get("no/such")),
        fails(errors.RemoteEntryNotFoundError, lambda: get(open_repo, "nope.txt")),
        fails(errors.RevisionNotFoundError, lambda: api.model_info(open_repo, revision="nope")),
        fails(errors.RevisionNotFoundError, lambda: get(open_repo, revision="nope")),
        fails(errors.GatedRepoError, lambda: get(gated)),
        fails(errors.GatedRepoError, lambda: get(manual)),
        fails(errors.GatedRepoError, lambda: snapshot_download(gated, token=TOKEN)),
    ]
    # Only its list is open to all.
    check(api.model_info(gated).gated == "auto" and api.model_info(manual).gated == "manual")
    if TOKEN:
        check(api.model_info(private).private is True)
        get(private)
    else:
        seen.append(fails(errors.RepositoryNotFoundError, lambda: api.model_info(private)))
        seen.append(fails(errors.RepositoryNotFoundError, lambda: get(private)))
    seen.append(fails(errors.DisabledRepoError, lambda: api.get_hf_file_metadata(url=hf_hub_url(disabled, "x"))))
    return {"seen": seen}


if __name__ == "__main__":
    case, *arguments = sys.argv[1:]
    print(json.dumps(globals()[case](*arguments)))
