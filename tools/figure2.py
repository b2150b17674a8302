#!/usr/bin/env python3
"""Draws Figure 2 of the paper anew: one pass of ContextLM over T = 12 tokens in chunks of w = 4.

    python3 tools/figure2.py > docs/src/figure2.svg

Plain Python, no dependency. Data flows upwards. A colour is a chunk: a predicted context has the colour of the chunk
it predicts, and so have the positions it guides. The groups are computed by the position rule, not drawn by hand.
"""

T, W = 12, 4  # tokens, chunk size
K = T // W  # complete chunks

# Fill and stroke of each chunk; the last colour is the chunk that begins with token 12.
CHUNK = [("#e2e8f0", "#475569"), ("#dbeafe", "#1d4ed8"), ("#dcfce7", "#15803d"), ("#ffedd5", "#c2410c")]
STAGE = ("#ede9fe", "#6d28d9")  # the boxes that hold weights
INK, SOFT, LINE, PAPER = "#111827", "#4b5563", "#6b7280", "#ffffff"

LEFT, PITCH, CELL = 262, 58, 50  # left column, distance and width of the token cells
WIDTH, HEIGHT = 1036, 846
SANS = "font-family='Helvetica, Arial, sans-serif'"
MONO = "font-family='Menlo, Consolas, DejaVu Sans Mono, monospace'"

# Top edges of the rows, from the output down to the input.
Y = {
    "out": 66, "head": 124, "decoder": 186, "fusion": 256, "c_hat": 350,
    "p": 440, "predictor": 500, "c": 576, "h": 664, "encoder": 724, "in": 788,
}
ROW, BOX = 34, 38  # heights of a row of cells and of a box

svg = []


def context_of(t):
    """The position rule: the predicted context that position t is fused with."""
    return (t + 1) // W


def x_of(t):
    """The centre of column t; fractions lie between columns."""
    return LEFT + PITCH * t + CELL / 2


def centre(ts):
    """The centre of a run of columns."""
    return x_of((min(ts) + max(ts)) / 2)


def text(x, y, s, size=15, fill=INK, anchor="middle", font=SANS, extra=""):
    s = s.replace("&", "&amp;").replace("<", "&lt;")
    svg.append(f"<text x='{x:g}' y='{y:g}' font-size='{size}' fill='{fill}' text-anchor='{anchor}' {font} {extra}>{s}</text>")


def box(x, y, w, h, colours, s="", size=15, font=MONO, dashed=False):
    fill, stroke = colours
    dash = "stroke-dasharray='5 3'" if dashed else ""
    svg.append(f"<rect x='{x:g}' y='{y:g}' width='{w:g}' height='{h:g}' rx='6' fill='{fill}' stroke='{stroke}' stroke-width='1.5' {dash}/>")
    if s:
        text(x + w / 2, y + h / 2 + size * 0.35, s, size, font=font)


def arrow(points, colour=LINE, width=1.8):
    path = " ".join(f"{x:g},{y:g}" for x, y in points)
    tip = "tip" + colour.lstrip("#")
    svg.append(f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='{width}' marker-end='url(#{tip})'/>")


def funnel(ts, y_wide, at, y_narrow, half, colours):
    """A trapezium between the cells of columns ts and the box centred at `at`."""
    fill, stroke = colours
    a, b = x_of(min(ts)) - CELL / 2, x_of(max(ts)) + CELL / 2
    points = f"{a:g},{y_wide:g} {b:g},{y_wide:g} {at + half:g},{y_narrow:g} {at - half:g},{y_narrow:g}"
    svg.append(f"<polygon points='{points}' fill='{fill}' fill-opacity='0.55' stroke='{stroke}' stroke-opacity='0.45' stroke-width='1'/>")


def label(y, name, details, crate=""):
    """A stage's name in the left column, lines on what it does, and the crate that holds it."""
    text(24, y, name, 16, anchor="start", extra="font-weight='bold'")
    for line in details.split("\n"):
        y += 18
        text(24, y, line, 13, SOFT, "start")
    if crate:
        text(24, y + 17, crate, 12, STAGE[1], "start", MONO)


def cells(row, colour_of, name_of):
    for t in range(T):
        box(x_of(t) - CELL / 2, Y[row], CELL, ROW, CHUNK[colour_of(t)], name_of(t), 13)


def stage(row, s):
    box(LEFT - 6, Y[row], PITCH * T + 4, BOX, STAGE, s, 16, SANS)


def up(x, y_from, y_to):
    arrow([(x, y_from - 2), (x, y_to + 4)])


groups = {k: [t for t in range(T) if context_of(t) == k] for k in range(K + 1)}
chunks = {k: list(range(k * W, k * W + W)) for k in range(K)}

svg.append(f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' height='{HEIGHT}' role='img'>")
svg.append("<title>ContextLM: token encoder, context embedding, context predictor, token decoder</title>")
for colour in [LINE] + [stroke for _, stroke in CHUNK]:
    tip = f"id='tip{colour.lstrip('#')}' viewBox='0 0 10 10' refX='8' refY='5' markerWidth='6' markerHeight='6' orient='auto'"
    svg.append(f"<defs><marker {tip}><path d='M0,0 L10,5 L0,10 z' fill='{colour}'/></marker></defs>")
# Its own sheet of paper, so that it reads on light and dark pages alike.
svg.append(f"<rect x='1' y='1' width='{WIDTH - 2}' height='{HEIGHT - 2}' rx='12' fill='{PAPER}' stroke='#d1d5db'/>")
text(WIDTH / 2, 36, f"ContextLM with T = {T} tokens, chunk_size w = {W}: a colour is a chunk", 17, extra="font-weight='bold'")

# Token encoder: tokens to token states.
cells("in", lambda t: t // W, lambda t: f"x[{t}]")
label(Y["in"] + 16, "tokens", "[B, T]")
stage("encoder", "token encoder E")
label(Y["encoder"] - 6, "token encoder E", "embedding and the first\nencoder_layers blocks", "contextlm-backbone")
cells("h", lambda t: t // W, lambda t: f"h[{t}]")
label(Y["h"] + 8, "token states h", "[B, T, D]")
for t in range(T):
    up(x_of(t), Y["in"], Y["encoder"] + BOX)
    up(x_of(t), Y["encoder"], Y["h"] + ROW)

# Context embedding: each complete chunk is pooled.
label(Y["c"] + 14, "context embedding c", "pooling of each chunk, [B, K, D]", "contextlm-embedding")
for k, ts in chunks.items():
    x = centre(ts)
    funnel(ts, Y["h"] - 4, x, Y["c"] + ROW, 44, CHUNK[k])
    box(x - 44, Y["c"], 88, ROW, CHUNK[k], f"c[{k}]")
    text(x, Y["c"] + ROW + 32, f"pooling, chunk {k}", 13, SOFT)
    up(x, Y["c"], Y["predictor"] + BOX)
    up(x, Y["predictor"], Y["p"] + ROW)

# Context predictor: chunk k sees the chunks before it and itself, and predicts chunk k+1.
stage("predictor", "context predictor P: causal over chunks")
label(Y["predictor"] + 2, "context predictor P", "predictor_layers blocks, norm", "contextlm-predictor")
label(Y["p"] + 14, "predictions p", "[B, K, D]")
for k, ts in chunks.items():
    box(centre(ts) - 44, Y["p"], 88, ROW, CHUNK[k + 1], f"p[{k}]")

# Shift by one: c_hat[0] is the initial context, c_hat[k] = p[k-1].
label(Y["c_hat"] + 8, "predicted contexts c_hat", "shift by one, [B, K+1, D]", "contextlm-embedding")
for k, ts in groups.items():
    x, half = centre(ts), 44 if k < K else 42
    funnel(ts, Y["fusion"] + ROW + 4, x, Y["c_hat"], half, CHUNK[k])
    box(x - half, Y["c_hat"], 2 * half, ROW, CHUNK[k], f"c_hat[{k}]", dashed=k == 0)
    if k > 0:
        arrow([(centre(chunks[k - 1]), Y["p"] - 2), (x, Y["c_hat"] + ROW + 5)], CHUNK[k][1], 2.2)
text(centre(groups[0]), Y["c_hat"] + ROW + 18, "initial context", 13, SOFT)

# Token decoder: every position is fused with its predicted context.
cells("fusion", context_of, lambda t: f"t={t}")
label(Y["fusion"] + 4, "fusion", "position t joins h[t] and\nc_hat[floor((t+1)/w)]", "contextlm-decoder")
stage("decoder", "token decoder D")
label(Y["decoder"] + 2, "token decoder D", "the remaining blocks, [B, T, D]", "contextlm-decoder")
stage("head", "final norm and LM head")
label(Y["head"] + 14, "head", "logits [B, T, V]")
cells("out", context_of, lambda t: f"x[{t + 1}]")
label(Y["out"] + 14, "next token", "position t predicts x[t+1]")
for t in range(T):
    up(x_of(t), Y["fusion"], Y["decoder"] + BOX)
    up(x_of(t), Y["decoder"], Y["head"] + BOX)
    up(x_of(t), Y["head"], Y["out"] + ROW)

# The token states also go straight up to the fusion.
right = x_of(T - 1) + CELL / 2
lane = right + 36
arrow([(right + 3, Y["h"] + ROW / 2), (lane, Y["h"] + ROW / 2), (lane, Y["fusion"] + ROW / 2), (right + 6, Y["fusion"] + ROW / 2)], LINE, 2.4)
middle = (Y["h"] + Y["fusion"] + ROW) / 2
text(lane + 18, middle, "h[t], every position", 14, SOFT, extra=f"transform='rotate(-90 {lane + 18:g} {middle:g})'")

svg.append("</svg>")
print("\n".join(svg))
