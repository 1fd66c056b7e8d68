"""Makes tests/fuzz/corpus/<target>/: small seeds for the fuzz targets, well-formed ones and hostile-* ones.
The tests require the hostile ones to be refused. usage: tools/fuzz_corpus.py, in the root; needs no packages.
Pictures are Pillow's, out of tests/golden/pictures.safetensors."""
import gzip, json, pathlib, struct, zlib

root = pathlib.Path(__file__).parent.parent
corpus = root / "tests/fuzz/corpus"


def put(target, name, data):
    folder = corpus / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())


# ---- safetensors
def tensors(header, body=b"", pad=True):
    text = (header if isinstance(header, str) else json.dumps(header, separators=(",", ":"))).encode()
    if pad:
        text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


f4 = entry("F32", [4], 0, 16)
every = {"__metadata__": {"tessera_format": "1", "step": "12", "epoch": "0.5", "seed": "7", "recipe": "mae",
                          "model": "vit", "parts": "encoder", "target": "pixels", "mean": "[0.5]",
                          "std": "[1]",
                          "image_size": "[32,32]", "code": "0", "config": "model:\n  dim: 8\n",
                          "note": "mine"}}
at = 0
for dtype, size in (("F32", 4), ("F16", 2), ("BF16", 2), ("F64", 8), ("I64", 8), ("I32", 4), ("U8", 1),
    ("BOOL", 1)):
    every[dtype.lower()] = entry(dtype, [2, 3], at, at + 6 * size)
    at += 6 * size
put("safetensors", "every_dtype", tensors(every, bytes(i % 2 for i in range(at))))
put("safetensors", "scalar_and_empty", tensors({"s": entry("F32", [], 0, 4), "e": entry("F32", [0, 7], 4,
    4)}, bytes(4)))
put("safetensors", "nothing", tensors({}))
put("safetensors", "metadata", tensors({"__metadata__": {"a": "b", "\u00fc": "\n"}, "x": f4}, bytes(16)))
hostile = {
    "shape_overflow": tensors({"x": entry("F32", [2**32, 2**32, 4], 0, 16)}, bytes(16)),
    "shape_wraps_to_16": tensors({"x": entry("F32", [2**62 + 1, 4], 0, 16)}, bytes(16)),
    "shape_negative": tensors({"x": entry("F32", [-4], 0, 16)}, bytes(16)),
    "shape_float": tensors('{"x":{"dtype":"F32","shape":[4.0],"data_offsets":[0,16]}}', bytes(16)),
    "shape_huge_number": tensors('{"x":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,16]}}',
                                 bytes(16)),
    "shape_seven": tensors({"x": entry("F32", [1] * 7, 0, 4)}, bytes(4)),
    "shape_nested": tensors('{"x":{"dtype":"F32","shape":[[4]],"data_offsets":[0,16]}}', bytes(16)),
    "overlap": tensors({"a": f4, "b": entry("F32", [4], 8, 24)}, bytes(24)),
    "same_bytes": tensors({"a": f4, "b": f4}, bytes(16)),
    "hole": tensors({"a": f4, "b": entry("F32", [4], 20, 36)}, bytes(36)),
    "hole_in_front": tensors({"a": entry("F32", [4], 4, 20)}, bytes(20)),
    "bytes_left_over": tensors({"a": f4}, bytes(17)),
    "offsets_reversed": tensors({"a": entry("F32", [4], 16, 0)}, bytes(16)),
    "offsets_outside": tensors({"a": entry("F32", [8], 0, 32)}, bytes(16)),
    "offsets_max": tensors({"a": entry("F32", [4], 2**64 - 17, 2**64 - 1)}, bytes(16)),
    "offsets_one": tensors('{"a":{"dtype":"F32","shape":[4],"data_offsets":[16]}}', bytes(16)),
    "offsets_three": tensors('{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16,16]}}', bytes(16)),
    "size_differs": tensors({"a": entry("F32", [5], 0, 16)}, bytes(16)),
    "dtype_unknown": tensors({"a": entry("F128", [1], 0, 16)}, bytes(16)),
    "dtype_number": tensors('{"a":{"dtype":5,"shape":[4],"data_offsets":[0,16]}}', bytes(16)),
    "dtype_missing": tensors('{"a":{"shape":[4],"data_offsets":[0,16]}}', bytes(16)),
    "shape_missing": tensors('{"a":{"dtype":"F32","data_offsets":[0,16]}}', bytes(16)),
    "offsets_missing": tensors('{"a":{"dtype":"F32","shape":[4]}}', bytes(16)),
    "key_unknown": tensors('{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16],"x":1}}', bytes(16)),
    "name_twice": tensors('{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},'
                          '"a":{"dtype":"F32","shape":[4],"data_offsets":[16,32]}}', bytes(32)),
    "key_twice": tensors('{"a":{"dtype":"F32","dtype":"U8","shape":[4],"data_offsets":[0,16]}}', bytes(16)),
    "metadata_twice": tensors('{"__metadata__":{},"__metadata__":{}}'),
    "metadata_key_twice": tensors('{"__metadata__":{"a":"b","a":"c"}}'),
    "metadata_number": tensors('{"__metadata__":{"a":1}}'),
    "metadata_nested": tensors('{"__metadata__":{"a":{}}}'),
    "metadata_list": tensors('{"__metadata__":["a"]}'),
    "entry_list": tensors('{"a":[1]}'),
    "entry_null": tensors('{"a":null}'),
    "entry_true": tensors('{"a":true}'),
    "bool_byte_2": tensors({"a": entry("BOOL", [4], 0, 4)}, b"\0\1\2\1"),
    "header_longer_than_file": struct.pack("<Q", 1000) + b"{}",
    "header_length_max": struct.pack("<Q", 2**64 - 1) + b"{}",
    "header_length_negative": struct.pack("<q", -8) + b"{}",
    "header_length_1tb": struct.pack("<Q", 2**40) + b"{}" + bytes(30),
    "header_empty": struct.pack("<Q", 0),
    "header_not_closed": tensors('{"a":{"dtype":"F32"'),
    "header_is_list": tensors("[]"),
    "header_is_blank": tensors("        "),
    "header_two_objects": tensors("{}{}"),
    "header_not_utf8": tensors({"a": f4}, bytes(16)).replace(b'"a"', b'"\xff"'),
    "header_zero_byte": tensors('{"a\0":{}}'),
    "header_comment": tensors("{}/* */"),
    "nested_deep": tensors('{"a":' + "[" * 4000 + "]" * 4000 + "}"),
    "nested_deep_objects": tensors('{"a":' * 2000 + "1" + "}" * 2000),
    "empty_file": b"",
    "seven_bytes": bytes(7),
    "only_length": struct.pack("<Q", 2),
    "a_pickle": b"\x80\x02}q\x00X\x01\x00\x00\x00aq\x01K\x01s.",
    "a_zip": b"PK\x03\x04" + bytes(40),
}
for name, data in hostile.items():
    put("safetensors", "hostile-" + name, data)

# ---- configuration: YAML, then overrides after zero bytes
for preset in sorted((root / "recipes/mae").glob("*.yaml")):
    put("config", preset.stem, preset.read_bytes())
put("config", "overrides", "model:\n  dim: 64\n\0optim.blr=1e-4\0data.train=folder:/x\0"
    "data.mean=[0.5, .5,5e-1]\0train.seed=3")
put("config", "styles",
    'model: {dim: 64, "heads": 4}\ndata:\n  mean:\n    - 0.5\n  train: "folder:/a \\u00fc"\n')
put("config", "block", "data:\n  train: |\n    folder:x\n  val: >-\n    folder:\n    y\n")
hostile = {
    "unknown": "modle:\n  dim: 4\n", "unknown_nested": "model:\n  dmi: 4\n",
        "twice": "model:\n  dim: 4\n  dim: 8\n",
    "section_twice": "model:\n  dim: 4\nmodel:\n  depth: 8\n", "anchor": "model: &a\n  dim: 4\n",
    "alias": "model: *a\n", "merge": "model:\n  <<: {dim: 4}\n", "tag": "model: !!map {dim: 4}\n",
    "tag_python": "model: !!python/object/apply:os.system [ls]\n",
    "documents": "model:\n  dim: 4\n---\nmodel:\n  dim: 8\n",
    "list": "- 1\n", "scalar": "7\n", "octal": "model:\n  dim: 010\n", "hex": "model:\n  dim: 0x10\n",
    "infinite": "model:\n  mlp_ratio: .inf\n", "nan": "model:\n  mask_ratio: .nan\n",
    "big": "model:\n  dim: 99999999999999999999\n", "quoted": "model:\n  dim: '64'\n",
    "empty_value": "model:\n  dim:\n",
    "null": "model:\n  dim: null\n", "tab": "model:\n\tdim: 4\n", "control": "model:\n  dim: 4\x01\n",
    "deep_flow": "model: " + "[" * 3000, "deep_flow_maps": "{a: " * 3000,
    "deep_block": "".join(" " * i + "a:\n" for i in range(60)),
    "deep_lists": "- " * 3000, "laughs": "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n",
    "question": "? [a, b]\n: c\n", "directive": "%YAML 9.9\n---\nmodel: {}\n",
    "not_utf8": b"model:\n  name: \xff\xfe\n",
    "utf16": "model:\n  dim: 4\n".encode("utf-16"), "long_key": "x" * 5000 + ": 1\n",
    "unclosed": 'model:\n  name: "abc\n', "colon": "model: dim: 4\n",
    "override_no_key": "\0=4", "override_section": "\0model=4", "override_list": "\0data.mean=[0.5",
    "override_tag": "\0data.mean=[!!int 3]",
}
for name, data in hostile.items():
    put("config", "hostile-" + name, data)


# ---- IDX
def idx(dims, body, kind=8):
    return struct.pack(">HBB", 0, kind, len(dims)) + b"".join(struct.pack(">I", d) for d in dims) + body


grey = idx((3, 4, 5), bytes(range(60)))
colour = idx((2, 3, 4, 3), bytes(range(72)))
for name, data in {"grey": grey, "colour": colour, "labels": idx((1,), b"\7"), "four": idx((1, 2, 2, 4),
    bytes(16))}.items():
    put("idx", name, data)
    put("idx", name + "_gz", gzip.compress(data, mtime=0))
put("idx", "two_members_gz", gzip.compress(grey[:30], mtime=0) + gzip.compress(grey[30:], mtime=0))
squeezed = gzip.compress(grey, mtime=0)
hostile = {
    "empty": b"", "three_bytes": b"\0\0\x08", "magic_floats": idx((3, 4, 5), bytes(240), 0x0d),
        "magic": b"\1" + grey[1:],
    "rank_0": idx((), b""), "rank_2": idx((4, 5), bytes(20)), "rank_255": idx((1,) * 255, b"\0"),
    "truncated": grey[:-1], "header_only": grey[:16], "half_header": grey[:9], "longer": grey + b"\0",
    "dimension_0": idx((0, 4, 5), b""), "overflow": idx((2**32 - 1,) * 4, bytes(16)),
    "overflow_to_0": idx((2**31, 2**31, 4), bytes(16)),
    "huge": idx((2**20, 2**10, 2**10), bytes(16)), "wide": idx((1, 1, 65501), bytes(65501 // 64)),
    "two_channels": idx((1, 2, 2, 2), bytes(8)),
    "gz_truncated": squeezed[:-9], "gz_sum": squeezed[:-8] + b"\0\0\0\0" + squeezed[-4:],
    "gz_length": squeezed[:-1] + b"\1",
    "gz_flipped": squeezed[:20] + bytes([squeezed[20] ^ 64]) + squeezed[21:], "gz_header_only": squeezed[:10],
    "gz_reserved_flags": squeezed[:3] + b"\xe0" + squeezed[4:], "gz_huge": gzip.compress(idx((2**20, 2**10,
    2**10), bytes(64)), mtime=0),
    "gz_bomb": gzip.compress(idx((2000, 100, 100), bytes(20_000_000)), 9, mtime=0),
    "gz_longer": gzip.compress(grey + bytes(4), mtime=0),
}
for name, data in hostile.items():
    put("idx", "hostile-" + name, data)

# ---- pictures
golden = (root / "tests/golden/pictures.safetensors").read_bytes()
size = struct.unpack("<Q", golden[:8])[0]
files = {}
for name, t in json.loads(golden[8 : 8 + size]).items():
    if name.startswith("file."):
        begin, end = t["data_offsets"]
        files[name[5:]] = golden[8 + size + begin : 8 + size + end]
for name, data in files.items():
    put("jpeg" if name.endswith(".jpg") else "png", name, data)

base, progressive = files["420.jpg"], files["progressive.jpg"]


def frame(data):
    """Where the frame header's height stands."""
    return min(i for m in (b"\xff\xc0\x00", b"\xff\xc2\x00") if (i := data.find(m)) >= 0) + 5


def resized(data, height, width):
    i = frame(data)
    return data[:i] + struct.pack(">HH", height, width) + data[i + 4 :]


def with_marker(data, marker):
    i = frame(data) - 4
    return data[:i] + bytes([marker]) + data[i + 1 :]


scan = progressive[progressive.rfind(b"\xff\xda") : -2]
hostile = {
    "empty": b"", "soi": b"\xff\xd8\xff", "truncated": base[: len(base) * 2 // 3], "no_end": base[:-2],
        "header_only": base[: base.find(b"\xff\xda")],
    "65500": resized(base, 65500, 65500), "65535": resized(base, 65535, 65535),
    "progressive_65500": resized(progressive, 65500, 65500),
    "height_0": resized(base, 0, 27), "width_0": resized(base, 21, 0), "taller": resized(base, 2000, 27),
    "12_bit": base[: frame(base) - 1] + b"\x0c" + base[frame(base) :],
    "arithmetic_huge": with_marker(resized(base, 20000, 8000), 0xC9),
    "arithmetic_progressive_huge": with_marker(resized(progressive, 13000, 13000), 0xCA),
    "lossless": with_marker(base, 0xC3), "hierarchical": with_marker(base, 0xC5),
    "two_components": base[: frame(base) + 4] + b"\x02" + base[frame(base) + 5 :],
    "sampling_0": base[: frame(base) + 6] + b"\x00" + base[frame(base) + 7 :],
    "scans": progressive[:-2] + scan * 60 + b"\xff\xd9",
    "marker_too_long": base[:-4] + b"\xff\xe5\xff\xff\xff\xd9",
    "only_fill": b"\xff\xd8" + b"\xff" * 200, "no_quantisation": base.replace(b"\xff\xdb", b"\xff\xe6"),
    "flipped": base[:-60] + bytes([base[-60] ^ 0x55]) + b"\xff\xd9",
}
for name, data in hostile.items():
    put("jpeg", "hostile-" + name, data)
put("jpeg", "arithmetic", with_marker(base, 0xC9))
# libjpeg reads these two: a marker of no length, and the standard Huffman tables where there are none.
put("jpeg", "marker_length_0", base[:2] + b"\xff\xe5\x00\x00" + base[2:])
put("jpeg", "no_tables", base.replace(b"\xff\xc4", b"\xff\xe4"))


def chunk(kind, data, length=None):
    body = kind + data
    return struct.pack(">I", len(data) if length is None else length) + body + struct.pack(">I",
        zlib.crc32(body))


def png(height, width, depth=8, colour=2, rows=None, extra=b"", interlace=0, idat=None):
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    if rows is None:
        length = (width * channels * depth + 7) // 8
        rows = b"".join(bytes([y % 5] + [(x * 7 + y) % 256 for x in range(length)]) for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    pixels = chunk(b"IDAT", zlib.compress(rows, 9)) if idat is None else idat
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + pixels + chunk(b"IEND", b"")


put("png", "16_bit_rgb", png(5, 6, 16))
put("png", "16_bit_grey_alpha", png(5, 6, 16, 4))
put("png", "16_bit_rgba", png(5, 6, 16, 6))
put("png", "interlaced_header", png(1, 1, interlace=1))
put("png", "text", png(3, 4, extra=chunk(b"tEXt", b"Author\0me") + chunk(b"gAMA", struct.pack(">I", 45455))))
bomb = zlib.compress(bytes(8_000_000), 9)
one = png(5, 6)
hostile = {
    "empty": b"\x89PNG\r\n\x1a\n", "truncated": one[:-20], "no_iend": one[:-12], "header_only": one[:33],
    "50000": png(50000, 50000, rows=b"\0"), "50000_grey_1": png(50000, 50000, 1, 0, rows=b"\0"),
    "max": png(2**31 - 1, 2**31 - 1, 1, 0, rows=b"\0"),
    "width_0": png(1, 0, rows=b"\0"), "height_0": png(0, 1, rows=b"\0"), "width_negative": png(1, 2**31,
    rows=b"\0"), "depth_3": png(2, 2, 3, 0, rows=bytes(8)),
    "too_few_rows": png(5, 6, rows=bytes(40)), "filter_9": png(5, 6, rows=b"\x09" * 95),
    "crc": one[:-20] + b"\0\0\0\0" + one[-16:],
    "idat_empty": png(5, 6, idat=chunk(b"IDAT", b"")), "idat_none": png(5, 6, idat=b""),
    "idat_not_zlib": png(5, 6, idat=chunk(b"IDAT", bytes(90))),
    "palette_none": png(5, 6, 8, 3), "palette_long": png(5, 6, 8, 3, extra=chunk(b"PLTE", bytes(774))),
    "palette_4": png(5, 6, 8, 3, extra=chunk(b"PLTE", bytes(4))),
    "chunk_length": one[:33] + b"\xff\xff\xff\xff" + one[37:], "unknown_critical": png(5, 6,
    extra=chunk(b"ABCD", b"x")),
    "interlaced_huge": png(40000, 4000, interlace=1, rows=b"\0"), "iend_first": one[:8] + chunk(b"IEND",
    b"") + one[8:], "two_headers": one[:33] + one[8:],
}
for name, data in hostile.items():
    put("png", "hostile-" + name, data)
put("png", "ztxt_bomb", png(5, 6, extra=chunk(b"zTXt",
    b"x\0\0" + bomb)))  # accepted: the text is never inflated
put("png", "iccp_bomb", png(5, 6, extra=chunk(b"iCCP", b"x\0\0" + bomb)))

# ---- manifest: the target puts the sum right
body = {"format": 1, "info": {"step": 12, "epoch": 0.5, "seed": 7, "recipe": "mae", "model": "vit",
    "parts": "encoder",
                              "target": "pixels", "mean": [0.5], "std": [0.25], "image_size": [32, 32],
                              "code": "c",
                              "config": "model:\n  dim: 8\n", "extra": {"note": "mine"}},
        "files": [{"name": "model.safetensors", "bytes": 24, "xxh3_128": "0" * 32,
                   "parts": [{"name": "", "bytes": 8, "xxh3_128": "1" * 32}, {"name": "w", "bytes": 16,
                   "xxh3_128": "2" * 32}]}]}


def manifest(change=None, text=None):
    value = json.loads(json.dumps(body))
    if change:
        change(value)
    return '{"manifest_xxh3_128": "' + "0" * 32 + '",\n' + (text or json.dumps(value, indent=1)[2:] + "\n")


put("manifest", "one", manifest())
changes = {
    "format_2": lambda v: v.update(format=2), "format_text": lambda v: v.update(format="1"),
        "step_float": lambda v: v["info"].update(step=1e300),
    "step_negative": lambda v: v["info"].update(step=-5),
    "step_huge": lambda v: v["info"].update(step=2**64 - 1),
    "step_true": lambda v: v["info"].update(step=True),
    "seed_negative": lambda v: v["info"].update(seed=-1), "mean_text": lambda v: v["info"].update(mean="x"),
    "extra_number": lambda v: v["info"].update(extra={"a": 1}),
    "files_number": lambda v: v.update(files=3), "no_info": lambda v: v.pop("info"),
    "no_config": lambda v: v["info"].pop("config"),
    "part_negative": lambda v: v["files"][0]["parts"][0].update(bytes=-1),
    "part_sum": lambda v: v["files"][0]["parts"][0].update(xxh3_128="zz"),
    "bytes_overflow": lambda v: v["files"][0]["parts"][0].update(bytes=2**64 - 1),
    "name_path": lambda v: v["files"][0].update(name="../../etc/passwd"),
    "parts_none": lambda v: v["files"][0].update(parts=[]),
    "image_size_huge": lambda v: v["info"].update(image_size=[2**62, -1]),
}
for name, change in changes.items():
    put("manifest", "hostile-" + name, manifest(change))
for name, text in {"deep": '"a": ' + "[" * 3000 + "]" * 3000 + "}", "not_json": "}}",
    "duplicate": '"format": 1, "format": 2}', "empty": " ",
                   "infinite": '"format": 1e999}', "not_utf8": '"format": "\udcff"}'}.items():
    put("manifest", "hostile-" + name, manifest(text=text).encode(errors="surrogateescape"))

total = sum(f.stat().st_size for f in corpus.rglob("*") if f.is_file())
print(f"{sum(1 for f in corpus.rglob('*') if f.is_file())} files, {total} bytes")
