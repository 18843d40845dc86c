"""Publishing checkpoints: what travels, what is there then, and what is never lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import Account, Fault, Hub
from published import (
    BASE_ID,
    files_of,
    hub_for_publishing,
    published_files,
    write_extended,
)

import xmod_extend
from xmod_extend.errors import HubError, UsageError
from xmod_extend.model.base import resolve_base
from xmod_extend.model.checkpoint import open_checkpoint
from xmod_extend.report.card_merge import split_card

REPO = "someone/xmod-quz"


@pytest.fixture
def hub(tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub(files={BASE_ID: files_of(base)})
    with hub_for_publishing(server, monkeypatch, tmp_path / "cache"):
        yield server


@pytest.fixture
def extended(base: Path, tmp_path: Path) -> Path:
    return write_extended(base, tmp_path / "extended")


def push(folder: Path, repo: str = REPO, **options: object) -> xmod_extend.Publication:
    return xmod_extend.push_to_hub(folder, repo, progress=False, **options)  # type: ignore[arg-type]


def on_hub(hub: Hub, repo: str = REPO) -> dict[str, bytes]:
    return hub.repositories[repo].files


def test_what_was_pushed_is_pulled_byte_for_byte(hub: Hub, extended: Path) -> None:
    published = push(extended)
    assert published.url == f"{hub.endpoint}/{REPO}"
    assert published.is_new and published.commit and published.private is False
    assert hub.commits == 1
    files = on_hub(hub)
    assert published_files(extended).items() <= files.items()
    assert files.keys() - files_of(extended).keys() == {".gitattributes"}
    assert ".xmod-extend.json" not in files
    assert f'from_pretrained("{REPO}")' in files["README.md"].decode()
    pulled = resolve_base(f"{REPO}@{published.commit}").fetch()
    assert open_checkpoint(pulled).languages[-1] == "quz_PE"
    shard = "model-quz_PE.safetensors"
    assert (pulled / shard).read_bytes() == (extended / shard).read_bytes()
    assert xmod_extend.describe(REPO).languages[-1] == "quz_PE"
    assert xmod_extend.verify_checkpoint(REPO, BASE_ID).identical


def test_nothing_is_committed_when_nothing_changed(hub: Hub, extended: Path) -> None:
    push(extended)
    received = hub.uploaded_bytes
    again = push(extended)
    assert again.commit is None and again.uploaded == () and again.uploaded_bytes == 0
    assert hub.commits == 1 and hub.uploaded_bytes == received


def test_a_second_language_costs_one_file_and_the_state_before_is_tagged(
    hub: Hub, extended: Path, tmp_path: Path
) -> None:
    first = push(extended)
    received = hub.uploaded_bytes
    both = write_extended(extended, tmp_path / "both", "ay_BO")
    second = push(both)
    shard = both / "model-ay_BO.safetensors"
    assert hub.uploaded_bytes - received == shard.stat().st_size
    assert hub.commits == 2
    assert second.tag == "before-ay_BO"
    assert hub.repositories[REPO].tags == {"before-ay_BO": first.commit}
    assert published_files(both).items() <= on_hub(hub).items()
    assert hub.repositories[REPO].commits[-1].title == "Add ay_BO"
    card = on_hub(hub)["README.md"].decode()
    assert "ay_BO" in card and "quz_PE" in card
    assert resolve_base(f"{REPO}@before-ay_BO").load_config()["languages"][-1] == "quz_PE"


def test_a_tag_that_is_there_stays(hub: Hub, extended: Path, tmp_path: Path) -> None:
    push(extended)
    hub.repositories[REPO].tags["before-ay_BO"] = "of-somebody"
    push(write_extended(extended, tmp_path / "both", "ay_BO"))
    assert hub.repositories[REPO].tags["before-ay_BO"] == "of-somebody"


def test_a_tag_that_is_refused_fails_nothing(hub: Hub, extended: Path, tmp_path: Path) -> None:
    push(extended)
    hub.faults.append(Fault("/tag/", 403))
    assert push(write_extended(extended, tmp_path / "both", "ay_BO")).tag is None
    assert hub.commits == 2


def test_the_base_is_copied_on_the_server(hub: Hub, base: Path, tmp_path: Path) -> None:
    hub.copies = True
    extended = write_extended(base, tmp_path / "extended", base_id=BASE_ID)
    published = push(extended)
    assert published.copied == ("model-base.safetensors",)
    assert hub.uploaded_bytes == (extended / "model-quz_PE.safetensors").stat().st_size
    assert published.copied_bytes == (base / "model.safetensors").stat().st_size
    assert published_files(extended).items() <= on_hub(hub).items()
    assert hub.commits == 1


@pytest.mark.parametrize("refusal", ["no-hash", "refused", "gated", "gone"])
def test_a_copy_that_is_refused_becomes_an_upload(
    hub: Hub, base: Path, tmp_path: Path, refusal: str
) -> None:
    hub.copies = refusal != "no-hash"
    extended = write_extended(base, tmp_path / "extended", base_id=BASE_ID)
    if refusal == "refused":
        hub.faults.append(Fault("/lfs-files/duplicate", 403, message="not in this region"))
    if refusal == "gated":
        hub.errors[BASE_ID] = (403, "GatedRepo")
    if refusal == "gone":
        del hub.repositories[BASE_ID]
    published = push(extended)
    assert published.copied == ()
    assert published_files(extended).items() <= on_hub(hub).items()
    assert hub.commits == 1
    sizes = [(extended / f"model-{name}.safetensors").stat().st_size for name in ("base", "quz_PE")]
    assert hub.uploaded_bytes == sum(sizes)


def test_a_plan_changes_nothing(hub: Hub, extended: Path) -> None:
    planned = push(extended, plan=True)
    assert planned.is_plan and planned.commit is None
    assert "model-base.safetensors" in planned.uploaded and planned.uploaded_bytes > 0
    assert REPO not in hub.repositories
    assert all(
        request.startswith(("GET", "HEAD")) or "validate" in request for request in hub.requests
    )


def test_a_private_repository_needs_a_token(
    hub: Hub, extended: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert push(extended, private=True).private is True
    assert hub.repositories[REPO].private
    assert resolve_base(REPO).load_config()["languages"][-1] == "quz_PE"
    monkeypatch.setenv("HF_TOKEN", "")
    with pytest.raises(HubError, match="neither a folder here nor a model on the Hub") as caught:
        resolve_base(f"{REPO}@main").load_config()
    assert "log in" in str(caught.value.hint)


def test_a_public_repository_is_not_taken_for_a_private_one(hub: Hub, extended: Path) -> None:
    push(extended)
    with pytest.raises(HubError, match="exists and is public"):
        push(extended, private=True)


def test_a_pull_request_leaves_the_main_branch_alone(hub: Hub, extended: Path) -> None:
    hub.add("other/xmod", {"README.md": b"---\nlicense: mit\n---\n"})
    published = push(extended, "other/xmod", create_pr=True)
    assert published.pull_request_url == f"{hub.endpoint}/other/xmod/discussions/1"
    assert published.url == published.pull_request_url
    assert on_hub(hub, "other/xmod").keys() == {"README.md"}
    (offered,) = hub.repositories["other/xmod"].pull_requests
    assert published_files(extended).items() <= offered.files.items()
    assert resolve_base("other/xmod@refs/pr/1").load_config()["languages"][-1] == "quz_PE"


def test_a_pull_request_needs_a_repository(hub: Hub, extended: Path) -> None:
    with pytest.raises(HubError, match="does not exist"):
        push(extended, create_pr=True)
    assert REPO not in hub.repositories


def test_edits_of_the_card_on_the_hub_survive(hub: Hub, extended: Path, tmp_path: Path) -> None:
    push(extended)
    repository = hub.repositories[REPO]
    text = repository.files["README.md"].decode()
    edited = text.replace("## Use\n", "Made with the radio of Cusco.\n\n## Use\n").replace(
        "tags:\n", "license: cc-by-4.0\ntags:\n- radio\n"
    )
    repository.edit(README=edited)
    assert push(extended).commit is None
    assert repository.files["README.md"].decode() == edited

    both = write_extended(extended, tmp_path / "both", "ay_BO")
    assert push(both).card == "merged"
    merged = repository.files["README.md"].decode()
    assert "radio of Cusco" in merged and "license: cc-by-4.0" in merged and "- radio" in merged
    assert "ay_BO" in merged
    assert push(both).commit is None, "the merged card is not taken for an edit"

    third = write_extended(both, tmp_path / "third", "tt_RU")
    assert push(third).card == "merged"
    last = repository.files["README.md"].decode()
    assert "radio of Cusco" in last and "tt_RU" in last and "- radio" in last
    pushed = push(both, "someone/fresh"), push(third, "someone/fresh")
    assert pushed[1].card == "new"
    fresh = on_hub(hub, "someone/fresh")["README.md"].decode().replace("fresh", "xmod-quz")
    bodies = [split_card(card)[1].splitlines() for card in (last, fresh)]
    assert [line for line in bodies[0] if line not in bodies[1]] == [
        "Made with the radio of Cusco."
    ]
    assert [line for line in bodies[1] if line not in bodies[0]] == []


def test_a_card_that_was_there_first_stays_and_gets_the_metadata(hub: Hub, extended: Path) -> None:
    hub.add(REPO, {"README.md": b"---\nlicense: mit\n---\n# Ours\n"})
    published = push(extended)
    card = on_hub(hub)["README.md"].decode()
    assert "# Ours" in card and "license: mit" in card and "library_name: transformers" in card
    assert "the Hub's text stays" in published.notes[-1]


def test_an_empty_repository_with_a_licence_keeps_it(hub: Hub, extended: Path) -> None:
    hub.add(REPO, {"README.md": b"---\nlicense: mit\n---\n"})
    assert push(extended).notes[-1].endswith("what is new is added")
    card = on_hub(hub)["README.md"].decode()
    assert "license: mit" in card and "## Results" in card


def test_a_licence_can_be_named(hub: Hub, extended: Path) -> None:
    push(extended, license="cc-by-4.0")
    assert 'license: "cc-by-4.0"' in on_hub(hub)["README.md"].decode()
    assert push(extended).commit is None, "it is not taken away again"
    assert 'license: "cc-by-4.0"' not in (extended / "README.md").read_text()


def test_metadata_are_refused_before_anything_is_made(hub: Hub, extended: Path) -> None:
    card = (extended / "README.md").read_text().replace('- "quz"', '- "quz_PE"')
    (extended / "README.md").write_text(card)
    with pytest.raises(HubError, match="would reject the metadata") as caught:
        push(extended)
    assert "README.md" in caught.value.message
    assert REPO not in hub.repositories and hub.uploaded_bytes == 0


@pytest.mark.parametrize(
    "missing", ["/validate-yaml", "/commits/", "/refs", "/auth-check", "/tag/", "/whoami"]
)
def test_a_hub_may_lack_what_is_not_needed(
    hub: Hub, extended: Path, tmp_path: Path, missing: str
) -> None:
    hub.missing.add(missing)
    push(extended)
    push(write_extended(extended, tmp_path / "both", "ay_BO"))
    assert open_checkpoint(resolve_base(REPO).fetch()).languages[-1] == "ay_BO"


def test_other_content_is_replaced_only_on_demand(
    hub: Hub, extended: Path, base: Path, tmp_path: Path
) -> None:
    hub.add(REPO, {"config.json": b'{"model_type": "bert"}', "model.safetensors": b"x" * 9})
    with pytest.raises(UsageError, match="holds something else than an X-MOD"):
        push(extended)
    assert hub.commits == 0
    published = push(extended, force=True)
    assert published.removed == ("model.safetensors",)
    assert open_checkpoint(resolve_base(REPO).fetch()).languages[-1] == "quz_PE"


def test_a_language_is_not_taken_away_unseen(
    hub: Hub, extended: Path, base: Path, tmp_path: Path
) -> None:
    push(extended)
    other = write_extended(base, tmp_path / "other", "ay_BO")
    with pytest.raises(UsageError, match=r"lacks: quz_PE"):
        push(other)
    published = push(other, force=True)
    assert "model-quz_PE.safetensors" in published.removed
    assert hub.repositories[REPO].tags.keys() == {"before-ay_BO"}
    assert open_checkpoint(resolve_base(REPO).fetch()).languages[-1] == "ay_BO"


def test_a_race_loses_nothing(
    hub: Hub, extended: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(extended)
    both = write_extended(extended, tmp_path / "both", "ay_BO")
    seen = xmod_extend.jobs.push.look_at

    def look(repo: str) -> object:
        remote = seen(repo)
        hub.repositories[REPO].edit(NOTES="somebody else was faster")
        return remote

    monkeypatch.setattr("xmod_extend.jobs.push.look_at", look)
    with pytest.raises(HubError, match="changed by somebody else") as caught:
        push(both)
    assert "not sent a second time" in str(caught.value.hint)
    assert "NOTES.md" in on_hub(hub) and "model-ay_BO.safetensors" not in on_hub(hub)


def test_a_gitignore_in_the_repository_leaves_nothing_out(hub: Hub, extended: Path) -> None:
    hub.add(REPO, {".gitignore": b"*.safetensors\n*.json\n"})
    push(extended)
    assert published_files(extended).items() <= on_hub(hub).items()


def test_only_what_was_written_is_published(hub: Hub, extended: Path) -> None:
    (extended / "notes.txt").write_text("for me alone")
    (extended / ".env").write_text("SECRET=1")
    published = push(extended)
    assert not {"notes.txt", ".env", ".xmod-extend.json"} & on_hub(hub).keys()
    assert "notes.txt" in " ".join(published.notes)


def test_a_checkpoint_of_others_is_published_without_its_other_files(
    hub: Hub, base: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    for name, raw in files_of(base).items():
        (folder / name).write_bytes(raw)
    (folder / "optimizer.pt").write_bytes(b"state")
    (folder / "LICENSE").symlink_to(tmp_path / "secret")
    (tmp_path / "secret").write_text("of this machine")
    push(folder)
    assert on_hub(hub).keys() >= {"config.json", "model.safetensors", "tokenizer.json"}
    assert not {"optimizer.pt", "LICENSE"} & on_hub(hub).keys()


def test_weights_that_were_changed_are_refused(hub: Hub, extended: Path) -> None:
    shard = extended / "model-quz_PE.safetensors"
    raw = bytearray(shard.read_bytes())
    raw[-1] ^= 1
    shard.write_bytes(raw)
    with pytest.raises(UsageError, match=r"model-quz_PE.safetensors was changed"):
        push(extended)
    assert REPO not in hub.repositories


def test_an_edited_config_goes_as_it_is_and_it_is_said(hub: Hub, extended: Path) -> None:
    config = json.loads((extended / "config.json").read_text())
    (extended / "config.json").write_text(json.dumps(config | {"default_language": "quz_PE"}))
    assert "config.json was changed" in push(extended).notes[0]
    assert json.loads(on_hub(hub)["config.json"])["default_language"] == "quz_PE"


def test_large_files_travel_in_parts(hub: Hub, extended: Path) -> None:
    hub.part_bytes = 10_000
    hub.faults.append(Fault("part=2", None, times=1))
    push(extended)
    assert published_files(extended).items() <= on_hub(hub).items()


@pytest.mark.parametrize("repo", ["xmod", "someone/xmod@v1", "a/b/c", "someone/x--y", ""])
def test_a_repository_is_named_in_full(extended: Path, repo: str) -> None:
    with pytest.raises(UsageError, match=r"--repo is .*it must be USER/NAME"):
        push(extended, repo)


def test_an_organisation_of_the_account_is_published_to(hub: Hub, extended: Path) -> None:
    hub.accounts = dict.fromkeys(hub.accounts, Account("someone", organisations=("quechua",)))
    assert push(extended, "quechua/xmod").commit


def test_what_is_no_checkpoint_is_refused(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        push(tmp_path / "nowhere")
    (tmp_path / "a").mkdir()
    with pytest.raises(xmod_extend.XmodExtendError, match=r"has no config.json"):
        push(tmp_path / "a")
    assert hub.requests == []


def test_a_pack_of_a_checkpoint_is_published_and_installed(
    hub: Hub, extended: Path, base: Path, tmp_path: Path
) -> None:
    published = push(extended, what="pack", license="cc-by-4.0")
    assert (published.what, published.languages) == ("pack", ("quz_PE",))
    shard = "model-quz_PE.safetensors"
    files = on_hub(hub)
    assert files.keys() == {
        ".gitattributes",
        "README.md",
        "adapter_config.json",
        "run.json",
        shard,
    }
    assert files[shard] == (extended / shard).read_bytes()
    assert REPO in files["README.md"].decode() or "quz_PE" in files["README.md"].decode()
    assert push(extended, what="pack", license="cc-by-4.0").commit is None
    xmod_extend.install_packs(base, [f"{REPO}@main"], tmp_path / "installed", progress=False)
    assert (tmp_path / "installed" / shard).read_bytes() == files[shard]


def test_a_folder_of_a_pack_is_published_as_one(hub: Hub, extended: Path, tmp_path: Path) -> None:
    xmod_extend.pack_language(extended, "quz_PE", tmp_path / "pack", progress=False)
    assert push(tmp_path / "pack").what == "pack"
    with pytest.raises(UsageError, match="holds a language pack"):
        push(extended)
    with pytest.raises(UsageError, match="is a language pack"):
        push(tmp_path / "pack", what="full")
    with pytest.raises(UsageError, match="--lang names the language"):
        push(tmp_path / "pack", lang="quz_PE")


def test_a_pack_of_several_languages_must_be_named(
    hub: Hub, extended: Path, tmp_path: Path
) -> None:
    both = write_extended(extended, tmp_path / "both", "ay_BO")
    with pytest.raises(UsageError, match="has 2 languages that were added"):
        push(both, what="pack")
    assert push(both, what="pack", lang="ay_BO").languages == ("ay_BO",)


def test_a_slice_is_published(hub: Hub, extended: Path, tmp_path: Path) -> None:
    folder = tmp_path / "slice"
    xmod_extend.slice_checkpoint(extended, ["quz_PE", "en_XX"], folder, progress=False)
    published = push(folder)
    assert set(published.languages) == {"quz_PE", "en_XX"}
    assert on_hub(hub)["model.safetensors"] == (folder / "model.safetensors").read_bytes()
    assert published_files(folder).items() <= on_hub(hub).items()


def test_a_folder_that_was_renamed_is_published_with_a_card_that_loads_it(
    hub: Hub, extended: Path, tmp_path: Path
) -> None:
    push(extended.rename(tmp_path / "another-name"))
    card = on_hub(hub)["README.md"].decode()
    assert f'from_pretrained("{REPO}"' in card and '"extended"' not in card


def test_plain_transformers_loads_what_was_published(hub: Hub, extended: Path) -> None:
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    push(extended)
    model = AutoModelForMaskedLM.from_pretrained(REPO)
    assert model.config.languages[-1] == "quz_PE"
    model.set_default_language("quz_PE")
    tokenizer = AutoTokenizer.from_pretrained(REPO)
    assert model(**tokenizer("wasi", return_tensors="pt")).logits.isfinite().all()
