"""Right answers to exercises 21 to 30, written differently: what stands here replaces the solution's functions."""

MASKS_BY_CELL = """
def _mask(queries, real, sees):
    rows = []
    for row in real.tolist():
        there = [True] * queries + row
        cells = range(len(there))
        mask = [[int(there[j] and sees(i, j)) for j in cells] for i in cells]
        for i in cells:
            if not any(mask[i]):
                mask[i][i] = 1
        rows.append(mask)
    return torch.tensor(rows)

def unimodal(queries, real):
    return _mask(queries, real, lambda i, j: (i < queries) == (j < queries))

def bidirectional(queries, real):
    return _mask(queries, real, lambda i, j: True).bool()

def causal(queries, real):
    return _mask(queries, real, lambda i, j: j < queries or queries <= j <= i)
"""

MASKS_TURNED = """
def causal(queries, real):
    there = torch.cat([torch.ones(len(real), queries) > 0, real], 1)
    place = (torch.arange(there.shape[1]) - queries + 1).clamp(min=0)  # queries are at 0, words at 1, 2, ...
    return (there[:, :, None] & (place[:, None] <= place)).transpose(1, 2)

def unimodal(queries, real):
    side = torch.arange(queries + real.shape[1]) >= queries
    same = side == side[:, None]
    return (same & torch.cat([torch.ones(len(real), queries) > 0, real], 1)[:, None]) | torch.eye(len(side)).bool() & ~(
        torch.cat([torch.ones(len(real), queries) > 0, real], 1)[:, :, None])
"""

SDPA = """
def attention(x, context, mask, weights):
    q, k, v = x @ weights["q"], context @ weights["k"], context @ weights["v"]
    seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    y = x + torch.einsum("bld,de->ble", seen, weights["o"])
    return (y - y.mean(-1, keepdim=True)) / (y.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()

def block(x, queries, x_f, mask, weights):
    x = attention(x, x, mask, weights["self"])
    outputs = []
    for i in range(x.shape[1]):
        token = x[:, i : i + 1]
        if i < queries and weights.get("cross") is not None:
            token = attention(token, x_f, None, weights["cross"])
        outputs.append(feed_forward(token, weights["ffw_query" if i < queries else "ffw_text"]))
    return torch.cat(outputs, 1)
"""

IN_DOUBLE = """
def attention(x, context, mask, weights):
    x, context, w = x.double(), context.double(), {name: weight.double() for name, weight in weights.items()}
    scores = torch.einsum("bld,bkd->blk", x @ w["q"], context @ w["k"]) / x.shape[-1] ** 0.5
    shares = scores.exp() if mask is None else scores.exp() * mask
    shares = shares / shares.sum(-1, keepdim=True)
    return F.layer_norm(x + shares @ (context @ w["v"]) @ w["o"], x.shape[-1:]).float()

def feed_forward(x, weights):
    x = x.transpose(1, 2).double()
    thought = weights["down"].T.double() @ F.gelu(weights["up"].T.double() @ x)
    out = F.layer_norm((x + thought).transpose(1, 2), x.shape[1:2])
    return out.transpose(1, 2).contiguous().transpose(1, 2).float()
"""

COSINES_IN_A_LOOP = """
def similarity(image, text):
    columns = [F.cosine_similarity(image.double(), t.double()[None, None], dim=-1).max(1).values for t in text]
    return torch.stack(columns).T

def targets(fits, smoothing=0.1):
    rows = []
    for row in fits:
        share = (1 - smoothing) / int(row.sum())
        rows.append(torch.where(row, share, 0.0) + torch.full((len(row),), smoothing / len(row)))
    return torch.stack(rows)

def itc_loss(similar, fits, temperature):
    logits = similar * temperature.reciprocal()
    return 0.5 * F.cross_entropy(logits, targets(fits)) + 0.5 * F.cross_entropy(logits.T, targets(fits.T))
"""

GUMBEL = """
@torch.no_grad()
def odds(similar, fits):
    if int((~fits).sum(1).min()) == 0:
        raise ValueError("no wrong pair")
    rest = torch.where(fits, torch.full_like(similar, -torch.inf), similar).double()
    alike = (rest - rest.max(1, keepdim=True).values).exp()
    return alike / alike.sum(1, keepdim=True)

def draw(similar, fits, generator):
    noise = -torch.log(-torch.log(torch.rand(similar.shape, generator=generator)))
    return (odds(similar, fits).log() + noise).argmax(1)

def partners(similar, fits, generator):
    pictures = draw(similar.T, fits.T, generator)
    return draw(similar, fits, generator), pictures
"""

ROW_BY_ROW = """
def draw(similar, fits, generator):
    rows = []
    for shares in odds(similar, fits).cumsum(1):
        rows.append(int((shares < torch.rand((), generator=generator) * shares[-1]).sum()))
    return torch.tensor(rows)
"""

PAIR_BY_PAIR = """
def pairs(wrong_text, wrong_image):
    B = len(wrong_text)
    listed = [(n, n, 1) for n in range(B)] + [(n, int(wrong_text[n]), 0) for n in range(B)]
    listed += [(int(wrong_image[n]), n, 0) for n in range(B)]
    return tuple(torch.tensor(listed).T)

def match_logits(states, weight, bias):
    return F.linear(states.mean(1), weight, bias).double()

def itm_loss(logits, labels):
    return F.softplus((logits[:, 0] - logits[:, 1]) * (2 * labels - 1)).mean()

def match_score(logits):
    with torch.no_grad():
        return (logits[:, 1] - logits[:, 0]).sigmoid()

def trivial_loss(labels):
    return F.binary_cross_entropy(labels.double().mean().expand(len(labels)), labels.double()).item()
"""

WORD_BY_WORD = """
def decoder_ids(ids, dec):
    ids = ids.clone()
    ids[:, 0] = dec
    return ids

def next_words(ids, real):
    if all(not any(row[1:]) for row in real.tolist()):
        raise ValueError("nothing to say")
    labels = torch.full(ids.shape, IGNORE)
    for b, length in enumerate(real.sum(1).tolist()):
        labels[b, : length - 1] = ids[b, 1:length]
    return labels

def word_logits(outputs, queries, words, bias):
    return torch.einsum("vd,dlb->vlb", words, outputs.permute(2, 1, 0)[:, queries:]).permute(2, 1, 0) + bias

def itg_loss(logits, labels):
    asked = labels != IGNORE
    return -logits[asked].double().log_softmax(-1)[torch.arange(int(asked.sum())), labels[asked]].mean()
"""

REUSED_OTHERWISE = """
def layer(x, mask, weights, past=None):
    own = x @ weights["k"], x @ weights["v"]
    k, v = own if past is None else tuple(torch.cat(pair, 1) for pair in zip(past, own))
    return x + F.scaled_dot_product_attention(x @ weights["q"], k, v, attn_mask=mask), own

def words_behind(x, real, kept, layers):
    (B, L), Q = real.shape, kept[0][0].shape[1]
    mask = torch.cat([torch.ones(B, L, Q), (real[:, None] & torch.ones(L, L).tril().bool()).float()], 2) > 0
    for i in range(len(layers)):
        x = layer(x, mask, layers[i], kept[i])[0]
    return x.transpose(0, 1).contiguous().transpose(0, 1)

def may_reuse(mask, queries):
    return (mask[:, :queries] == (torch.arange(mask.shape[2]) < queries)).all()

from torch.nn import functional as F
"""

SORTED_LISTS = """
def project(z, weight, bias):
    return F.linear(z, weight, bias)

def arrange(real, queries):
    rows = []
    for row in real.tolist():
        pads = [queries + i for i, word in enumerate(row) if not word][::-1]
        rows.append(pads + list(range(queries)) + [queries + i for i, word in enumerate(row) if word])
    return torch.tensor(rows)

def prepend(soft, words, real):
    order, rows = arrange(real, soft.shape[1]), torch.arange(len(real))[:, None]
    mask = torch.cat([torch.ones(soft.shape[:2]), real.float()], 1)
    return torch.cat([soft, words], 1).double()[rows, order], mask[rows, order]

def labels(ids, counts, real, queries):
    rows = []
    for b, places in enumerate(arrange(real, queries).tolist()):
        said = [int(ids[b, i - queries]) if i >= queries and counts[b, i - queries] else IGNORE for i in places]
        rows.append(said[1:] + [IGNORE])
    return torch.tensor(rows)

def trains(name):
    parts = name.split(".")
    if parts[0] != "qformer":
        return parts[0] == "to_lm"
    return parts[1] in ("query_tokens", "norm") or (parts[1] == "blocks" and parts[3] != "ffw_text")
"""

CUT_IN_A_LOOP = """
def halves(ids, cut):
    texts = [[word for word in row if word != PAD] for row in ids.tolist()]
    if any(length >= len(text) for text, length in zip(texts, cut)):
        raise ValueError("nothing is left")
    prefix = torch.full((len(cut), max(cut)), PAD)
    said = torch.full((len(cut), max(len(text) - length for text, length in zip(texts, cut))), IGNORE)
    for b, (text, length) in enumerate(zip(texts, cut)):
        prefix[b, :length] = torch.tensor(text[:length])
        said[b, : len(text) - length] = torch.tensor(text[length:])
    return prefix, said

def encoder_input(soft, words, prefix):
    mask = torch.cat([torch.ones(soft.shape[:2], dtype=torch.long), (prefix != PAD).long()], 1)
    return torch.cat([soft.transpose(1, 2), words.transpose(1, 2)], 2).transpose(1, 2), mask

def decoder_input(labels, start):
    read = torch.roll(labels, 1, 1)
    read[:, 0] = start
    return torch.where(read == IGNORE, PAD, read)

def prefix_loss(logits, labels):
    total = 0
    for row, label in zip(logits.flatten(0, 1), labels.flatten().tolist()):
        if label != IGNORE:
            total = total + row.logsumexp(0) - row[label]
    return total / (labels != IGNORE).sum()
"""

PICTURE_BY_PICTURE = """
def candidates(similar, k):
    return (-similar).argsort(1)[:, :k]

def ranked_texts(similar, match, k):
    rows = []
    for n, row in enumerate(candidates(similar, similar.shape[1])):
        first = row[:k]
        matched = match(torch.full_like(first, n), first).tolist()
        best = [text for _, text in sorted(zip(matched, first.tolist()), reverse=True)]
        rows.append(best + row[k:].tolist())
    return torch.tensor(rows)

def ranked_images(similar, match, k):
    def turned(texts, pictures):
        return match(pictures, texts)
    return ranked_texts(similar.transpose(0, 1).contiguous(), turned, k)
"""

RIGHT = {
    "21": [MASKS_BY_CELL, MASKS_TURNED], "22": [SDPA, IN_DOUBLE], "23": [COSINES_IN_A_LOOP], "24": [GUMBEL, ROW_BY_ROW],
    "25": [PAIR_BY_PAIR], "26": [WORD_BY_WORD], "27": [REUSED_OTHERWISE], "28": [SORTED_LISTS], "29": [CUT_IN_A_LOOP],
    "30": [PICTURE_BY_PICTURE],
}  # fmt: skip
