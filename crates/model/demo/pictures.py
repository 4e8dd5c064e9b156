"""Generated pictures for the demonstration model: coloured shapes and a few drawn scenes.

A picture is drawn on a larger canvas from a description and a numpy Generator, and then scaled down, which makes it
anti-aliased. All coordinates are parts of the picture's width (0 left or top, 1 right or bottom). Nothing here needs a font or a file.
"""
import colorsys
import math

import numpy as np
from PIL import Image, ImageDraw

COLOURS = {  # hue range in degrees, saturation, value
    "red": ((-8, 6), (.75, 1), (.7, .98)), "orange": ((22, 34), (.85, 1), (.9, 1)), "yellow": ((50, 59), (.75, 1), (.9, 1)),
    "green": ((100, 148), (.5, 1), (.42, .85)), "blue": ((208, 236), (.65, 1), (.55, 1)), "purple": ((266, 290), (.45, .9), (.42, .8)),
    "pink": ((328, 346), (.28, .5), (.95, 1)), "brown": ((18, 30), (.55, .8), (.32, .55)), "black": ((0, 360), (0, .2), (.02, .14)),
    "white": ((0, 360), (0, .03), (.95, 1)),
}
SHAPES = ("circle", "square", "triangle", "star", "heart", "diamond", "cross", "ring")
POSITIONS = ("left", "right", "top", "bottom", "centre")
SIZES = ("small", "large")
SCENES = ("sunset", "night", "house", "mountain", "tree", "rainbow", "rain", "flower", "sailboat", "snowman", "desert", "fish")


def hsv(rng, hue, saturation, value):
    """A random colour as three floats in 0..1."""
    h, s, v = (rng.uniform(*span) for span in (hue, saturation, value))
    return np.array(colorsys.hsv_to_rgb(h / 360 % 1, s, v))


def rgb(colour):
    return tuple(int(round(255 * float(c))) for c in colour)


class Canvas:
    """Pillow's drawing calls in parts of the width."""

    def __init__(self, size, top, bottom=None):
        if bottom is None:
            self.image = Image.new("RGB", (size, size), rgb(top))
        else:  # shading, from the upper colour to the lower one
            column = np.linspace(top, bottom, size)[:, None, :]
            self.image = Image.fromarray(np.uint8(np.round(255 * column))).resize((size, size), Image.Resampling.NEAREST)
        self.size, self.draw = size, ImageDraw.Draw(self.image)

    def polygon(self, points, colour):
        self.draw.polygon([(float(x) * self.size, float(y) * self.size) for x, y in points], fill=rgb(colour))

    def box(self, x0, y0, x1, y1, colour):
        self.draw.rectangle([float(v) * self.size for v in (x0, y0, x1, y1)], fill=rgb(colour))

    def ellipse(self, x, y, rx, ry, colour):
        self.draw.ellipse([float(v) * self.size for v in (x - rx, y - ry, x + rx, y + ry)], fill=rgb(colour))

    def line(self, points, width, colour):
        self.draw.line([(float(x) * self.size, float(y) * self.size) for x, y in points], fill=rgb(colour),
                       width=max(1, round(width * self.size)))

    def arc(self, x, y, r, width, colour):
        self.draw.arc([float(v) * self.size for v in (x - r, y - r, x + r, y + r)], 180, 360, fill=rgb(colour),
                      width=max(1, round(width * self.size)))


# Shapes

def _star(points, inner):
    angle = np.arange(2 * points) * math.pi / points - math.pi / 2
    radius = np.where(np.arange(2 * points) % 2 == 0, 1, inner)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)


def _heart():
    t = np.linspace(0, 2 * math.pi, 40, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return np.stack([x, y + 2], 1) / 16.5


def _cross(a=.36):
    return np.array([(-a, -1), (a, -1), (a, -a), (1, -a), (1, a), (a, a), (a, 1), (-a, 1), (-a, a), (-1, a), (-1, -a), (-a, -a)])


_CIRCLE = np.stack([np.cos(np.linspace(0, 2 * math.pi, 48, endpoint=False)), np.sin(np.linspace(0, 2 * math.pi, 48, endpoint=False))], 1)
OUTLINES = {
    "circle": _CIRCLE, "ring": _CIRCLE, "square": np.array([(-.85, -.85), (.85, -.85), (.85, .85), (-.85, .85)]),
    "triangle": np.array([(0, -1), (.98, .75), (-.98, .75)]), "star": 1.1 * _star(5, .42), "heart": _heart(),
    "diamond": np.array([(0, -1.12), (.72, 0), (0, 1.12), (-.72, 0)]), "cross": _cross(),
}
TURN = {"circle": 0, "ring": 0, "square": 12, "triangle": 12, "star": 20, "heart": 12, "diamond": 8, "cross": 12}  # degrees, at most


def _ground(rng, colour):
    """One or two background colours that the shape stands out from."""
    while True:
        hue, saturation = (0, 360), (0, .06) if rng.random() < .6 else (.05, .32)
        value = [(.75, 1), (.4, .75), (.05, .4)][rng.choice(3, p=[.6, .2, .2])]
        first = hsv(rng, hue, saturation, value)
        second = np.clip(first + rng.uniform(-.12, .12), 0, 1) if rng.random() < .4 else None
        if all(np.linalg.norm((ground - colour) * (.6, 1, .5)) > .33 for ground in (first, second) if ground is not None):
            return first, second


RADII = {  # of a single shape by its size, of several by their number: small ones, and larger ones that are easier to tell apart
    "fine": {"small": (.105, .145), None: (.175, .225), "large": (.26, .315), 2: (.115, .19), 3: (.11, .165), 4: (.105, .145), 5: (.1, .13)},
    "coarse": {"small": (.13, .16), None: (.19, .23), "large": (.27, .315), 2: (.15, .21), 3: (.14, .185), 4: (.13, .16), 5: (.12, .145)},
}


def _places(rng, what, radii):
    """Centres and radii of the shapes."""
    count, position, size = what["count"], what["position"], what["size"]
    if count == 1:
        r = rng.uniform(*radii[size])
        near, far, middle = rng.uniform(r + .015, max(.34, r + .02)), rng.uniform(-.12, .12), rng.uniform(-.06, .06, 2)
        x, y = {"left": (near, .5 + far), "right": (1 - near, .5 + far), "top": (.5 + far, near), "bottom": (.5 + far, 1 - near),
                "centre": .5 + middle}[position]
        return [(x, y, r)]
    while True:
        r, places = rng.uniform(*radii[count]), []
        for _ in range(60):
            here = rng.uniform(1.1 * r + .01, 1 - 1.1 * r - .01, 2)
            if all(np.hypot(*(here - there[:2])) > 2.3 * r + .01 for there in places):
                places.append((*here, r * rng.uniform(.9, 1.05)))
                if len(places) == count:
                    return places


def draw_shapes(rng, what, size, radii, plain):
    """`what`: colour, shape, count, position (of a single shape, else None), size (small, large or None)."""
    colour = hsv(rng, *COLOURS[what["colour"]])
    first, second = _ground(rng, colour)
    canvas = Canvas(size, first, second)
    stretch = np.exp(rng.uniform(-.14, .14)) ** np.array([.5, -.5]) if not plain else np.ones(2)
    for x, y, r in _places(rng, what, RADII[radii]):
        turn = math.radians(TURN[what["shape"]]) * rng.uniform(-1, 1) * (not plain)
        rotate = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
        canvas.polygon(OUTLINES[what["shape"]] @ rotate * stretch * r + (x, y), colour)
        if what["shape"] == "ring":
            ground = first if second is None else first + (second - first) * y
            canvas.polygon(OUTLINES["ring"] * rng.uniform(.5, .62) * stretch * r + (x, y), ground)
    return canvas.image


# Scenes

def sunset(rng, size):
    sea = rng.uniform(.52, .72)
    low = hsv(rng, (18, 40), (.6, .95), (.9, 1))
    c = Canvas(size, hsv(rng, (-60, 20), (.35, .8), (.45, .9)), low)
    x, r = rng.uniform(.25, .75), rng.uniform(.09, .17)
    sun = hsv(rng, (5, 52), (.5, .95), (.95, 1))
    c.ellipse(x, sea - rng.uniform(-.3, .9) * r, r, r, sun)
    water = hsv(rng, (195, 260), (.3, .75), (.25, .6))
    c.box(0, sea, 1, 1, water)
    for _ in range(rng.integers(4, 9)):
        y, w = rng.uniform(sea + .02, .98), rng.uniform(.03, .14)
        c.line([(x - w, y), (x + w, y)], .014, .4 * water + .6 * sun)
    return c.image


def night(rng, size):
    sky = hsv(rng, (220, 260), (.4, .9), (.08, .32))
    c = Canvas(size, sky, np.clip(sky * rng.uniform(1, 1.8), 0, 1) if rng.random() < .5 else None)
    x, y, r = rng.uniform(.2, .8), rng.uniform(.18, .5), rng.uniform(.09, .17)
    c_moon = hsv(rng, (45, 60), (.1, .5), (.92, 1))
    for _ in range(rng.integers(8, 22)):
        s = rng.uniform(.008, .026)
        c.polygon(_star(int(rng.choice([4, 5])), .4) * s * 1.3 + rng.uniform(.03, .97, 2), hsv(rng, (40, 60), (0, .4), (.85, 1)))
    c.ellipse(x, y, r, r, c_moon)
    if rng.random() < .65:
        c.ellipse(x + rng.choice([-1, 1]) * r * rng.uniform(.4, .6), y - r * rng.uniform(.1, .3), r * .92, r * .92, sky)
    if rng.random() < .4:
        c.polygon([(0, 1), (0, .85), (.3, rng.uniform(.75, .9)), (.65, rng.uniform(.8, .95)), (1, rng.uniform(.75, .9)), (1, 1)], sky * .4)
    return c.image


def _day(rng, size):
    top = hsv(rng, (195, 220), (.3, .7), (.8, 1))
    return Canvas(size, top, np.clip(top + rng.uniform(0, .25), 0, 1))


def _cloud(rng, c, low=.05, high=.3):
    x, y, s = rng.uniform(.1, .9), rng.uniform(low, high), rng.uniform(.04, .07)
    for dx, dy, k in ((-1.2, .2, .8), (0, -.2, 1.1), (1.2, .2, .85)):
        c.ellipse(x + dx * s, y + dy * s, s * k * 1.2, s * k * .8, (.97, .97, .98))


def _sun(rng, c):
    r = rng.uniform(.06, .1)
    c.ellipse(rng.choice([rng.uniform(.1, .25), rng.uniform(.75, .9)]), rng.uniform(.1, .2), r, r, hsv(rng, (40, 56), (.7, 1), (.97, 1)))


def _grass(rng, c, low=.62, high=.8):
    y = rng.uniform(low, high)
    c.box(0, y, 1, 1, hsv(rng, (85, 130), (.45, .85), (.45, .8)))
    return y


def house(rng, size):
    c = _day(rng, size)
    if rng.random() < .5:
        _sun(rng, c)
    if rng.random() < .5:
        _cloud(rng, c)
    ground = _grass(rng, c)
    x, w, h = rng.uniform(.35, .65), rng.uniform(.17, .26), rng.uniform(.22, .34)
    base = ground + rng.uniform(.02, .1)
    wall = hsv(rng, (0, 60), (.05, .5), (.75, 1))
    c.box(x - w, base - h, x + w, base, wall)
    c.polygon([(x - w * 1.25, base - h), (x, base - h - rng.uniform(.14, .22)), (x + w * 1.25, base - h)], hsv(rng, (-20, 30), (.5, .9), (.4, .8)))
    c.box(x - .045, base - h * .55, x + .045, base, hsv(rng, (10, 35), (.5, .8), (.25, .5)))
    for side in (-1, 1):
        m = x + side * w * .62
        c.box(m - .04, base - h * .75, m + .04, base - h * .45, hsv(rng, (190, 220), (.2, .6), (.5, .95)))
    return c.image


def mountain(rng, size):
    c = _day(rng, size)
    if rng.random() < .5:
        _cloud(rng, c, .05, .2)
    for _ in range(rng.integers(2, 4)):
        x, top, w = rng.uniform(.15, .85), rng.uniform(.16, .42), rng.uniform(.35, .6)
        rock, slope = hsv(rng, (200, 260), (.08, .35), (.3, .6)), w / (1 - top)
        c.polygon([(x, top), (x - w, 1), (x + w, 1)], rock)
        h = rng.uniform(.3, .45) * (1 - top)
        teeth = np.linspace(1, -1, 7)
        edge = [(x + t * slope * h, top + h * (1 if i % 2 == 0 else .68)) for i, t in enumerate(teeth)]
        c.polygon([(x, top), *edge], (.97, .98, 1))
    if rng.random() < .6:
        c.box(0, rng.uniform(.84, .94), 1, 1, hsv(rng, (90, 200), (.05, .5), (.4, .9)))
    return c.image


def tree(rng, size):
    c = _day(rng, size)
    if rng.random() < .4:
        _sun(rng, c)
    ground = _grass(rng, c, .68, .86)
    x, base, w = rng.uniform(.35, .65), ground + rng.uniform(0, .08), rng.uniform(.035, .06)
    top = rng.uniform(.38, .5)
    leaf = hsv(rng, (95, 140), (.5, .95), (.28, .6))
    c.box(x - w, top, x + w, base, hsv(rng, (18, 32), (.5, .8), (.3, .5)))
    if rng.random() < .6:
        r = rng.uniform(.15, .2)
        for dx, dy in ((-.7, .1), (.7, .1), (0, -.55), (0, .2)):
            c.ellipse(x + dx * r, top + dy * r - .05, r, r * .9, leaf)
    else:
        for i in range(3):
            y, half = top + .16 - i * .14, .26 - i * .055
            c.polygon([(x, y - .24), (x - half, y), (x + half, y)], leaf)
    return c.image


def rainbow(rng, size):
    c = _day(rng, size)
    ground = _grass(rng, c, .72, .92) if rng.random() < .7 else 1
    x, r, w = rng.uniform(.4, .6), rng.uniform(.38, .52), rng.uniform(.032, .046)
    y = rng.uniform(.72, .88)
    for i, hue in enumerate((0, 28, 54, 120, 205, 235, 280)):
        c.arc(x, y, r - i * w, w * 1.15, hsv(rng, (hue - 4, hue + 4), (.7, .95), (.8, 1)))
    if ground < 1:
        c.box(0, max(ground, y - .02), 1, 1, hsv(rng, (85, 130), (.45, .85), (.45, .8)))
    if rng.random() < .5:
        _cloud(rng, c)
    return c.image


def rain(rng, size):
    sky = hsv(rng, (200, 230), (.05, .25), (.42, .68))
    c = Canvas(size, sky, np.clip(sky + rng.uniform(-.1, .1), 0, 1))
    x = -.02
    while x < 1:
        w, top = rng.uniform(.12, .22), rng.uniform(.3, .65)
        c.box(x, top, x + w - .01, 1, hsv(rng, (200, 250), (.05, .3), (.16, .36)))
        for row in np.arange(top + .05, .95, .09):
            for column in np.arange(x + .03, x + w - .05, .055):
                if rng.random() < .5:
                    c.box(column, row, column + .025, row + .04, hsv(rng, (42, 56), (.4, .8), (.8, 1)))
        x += w
    slant = rng.uniform(-.05, .05)
    for _ in range(rng.integers(35, 70)):
        px, py = rng.uniform(0, 1, 2)
        c.line([(px, py), (px + slant, py + rng.uniform(.05, .09))], .009, (.78, .84, .92))
    return c.image


def flower(rng, size):
    c = _day(rng, size)
    ground = _grass(rng, c, .6, .85)
    x, y, n, r = rng.uniform(.38, .62), rng.uniform(.32, .45), int(rng.integers(5, 9)), rng.uniform(.1, .14)
    stem = hsv(rng, (95, 140), (.6, .9), (.3, .55))
    c.line([(x, y), (x + rng.uniform(-.05, .05), ground + .1)], .03, stem)
    for side in (-1, 1):
        c.ellipse(x + side * .09, ground - .08, .085, .035, stem)
    petal, turn = hsv(rng, *[((330, 360), (.4, .9), (.85, 1)), ((270, 300), (.3, .7), (.7, 1)), ((0, 15), (.7, .95), (.8, 1)), ((48, 56), (.6, .9), (.95, 1))][rng.integers(4)]), rng.uniform(0, 6)
    for i in range(n):
        a = turn + i * 2 * math.pi / n
        c.ellipse(x + r * math.cos(a), y + r * math.sin(a), r * .62, r * .62, petal)
    c.ellipse(x, y, r * .6, r * .6, hsv(rng, (35, 52), (.7, 1), (.75, 1)))
    return c.image


def sailboat(rng, size):
    c = _day(rng, size)
    if rng.random() < .6:
        _cloud(rng, c)
    if rng.random() < .3:
        _sun(rng, c)
    sea = rng.uniform(.58, .74)
    water = hsv(rng, (195, 225), (.55, .9), (.45, .8))
    c.box(0, sea, 1, 1, water)
    for _ in range(rng.integers(3, 7)):
        wx, wy = rng.uniform(0, 1), rng.uniform(sea + .05, .97)
        c.line([(wx, wy), (wx + .1, wy)], .012, np.clip(water + .2, 0, 1))
    x, y, s = rng.uniform(.35, .65), sea + rng.uniform(.02, .08), rng.uniform(.8, 1.15)
    c.line([(x, y - .03), (x, y - .44 * s)], .018, (.35, .25, .15))
    sail = hsv(rng, (0, 60), (0, .7), (.9, 1))
    c.polygon([(x + .02, y - .42 * s), (x + .02, y - .07), (x + .22 * s, y - .07)], sail)
    c.polygon([(x - .02, y - .36 * s), (x - .02, y - .07), (x - .17 * s, y - .07)], sail)
    c.polygon([(x - .24 * s, y - .04), (x + .24 * s, y - .04), (x + .15 * s, y + .07), (x - .15 * s, y + .07)], hsv(rng, (0, 30), (.5, .9), (.3, .7)))
    return c.image


def snowman(rng, size):
    if rng.random() < .7:
        c = _day(rng, size)
    else:
        c = Canvas(size, hsv(rng, (215, 240), (.3, .6), (.25, .5)))
    c.box(0, rng.uniform(.68, .84), 1, 1, hsv(rng, (190, 220), (0, .08), (.88, .96)))
    x, s, base = rng.uniform(.35, .65), rng.uniform(.85, 1.1), rng.uniform(.86, .95)
    white = (.98, .98, 1)
    body, head = base - .19 * s, base - .48 * s
    c.ellipse(x, body, .205 * s, .205 * s, (.72, .77, .85))
    c.ellipse(x, body, .19 * s, .19 * s, white)
    c.ellipse(x, head, .145 * s, .145 * s, (.72, .77, .85))
    c.ellipse(x, head, .13 * s, .13 * s, white)
    for side in (-1, 1):
        c.ellipse(x + side * .05 * s, head - .03 * s, .02, .02, (.05, .05, .05))
        c.line([(x + side * .17 * s, body - .05), (x + side * .33 * s, body - .17 * s)], .02, (.35, .22, .1))
    c.polygon([(x, head), (x, head + .04 * s), (x + .12 * s, head + .03 * s)], (.95, .5, .1))
    c.box(x - .13 * s, head + .1 * s, x + .13 * s, head + .15 * s, hsv(rng, [(-8, 6), (208, 236), (100, 148)][rng.integers(3)], (.7, 1), (.6, .9)))
    if rng.random() < .6:
        c.box(x - .14 * s, head - .14 * s, x + .14 * s, head - .11 * s, (.08, .08, .1))
        c.box(x - .08 * s, head - .26 * s, x + .08 * s, head - .12 * s, (.08, .08, .1))
    for _ in range(rng.integers(0, 25)):
        c.ellipse(*rng.uniform(0, 1, 2), .012, .012, white)
    return c.image


def desert(rng, size):
    top = hsv(rng, (190, 215), (.2, .6), (.8, 1)) if rng.random() < .7 else hsv(rng, (25, 45), (.2, .5), (.95, 1))
    c = Canvas(size, top)
    _sun(rng, c)
    y, sand = rng.uniform(.55, .7), hsv(rng, (32, 46), (.4, .7), (.78, .98))
    c.box(0, y + .06, 1, 1, sand)
    c.ellipse(rng.uniform(0, .4), y + .2, .6, .22, sand * .93)
    c.ellipse(rng.uniform(.6, 1), y + .26, .6, .24, sand)
    for _ in range(rng.integers(1, 3)):
        x, base, s = rng.uniform(.18, .82), y + rng.uniform(.12, .28), rng.uniform(.75, 1.1)
        green = hsv(rng, (100, 150), (.5, .85), (.28, .55))
        c.line([(x, base), (x, base - .4 * s)], .075 * s, green)
        c.ellipse(x, base - .4 * s, .037 * s, .037 * s, green)
        for side in (-1, 1):
            h = rng.uniform(.14, .24) * s
            c.line([(x, base - h), (x + side * .13 * s, base - h)], .05 * s, green)
            c.line([(x + side * .13 * s, base - h + .02), (x + side * .13 * s, base - h - .13 * s)], .05 * s, green)
    return c.image


def fish(rng, size):
    c = Canvas(size, hsv(rng, (185, 215), (.45, .8), (.6, .9)), hsv(rng, (200, 230), (.6, .95), (.25, .55)))
    if rng.random() < .6:
        c.box(0, rng.uniform(.86, .94), 1, 1, hsv(rng, (35, 48), (.3, .6), (.6, .9)))
    for _ in range(rng.integers(1, 3)):
        x, y, s, d = rng.uniform(.3, .7), rng.uniform(.25, .75), rng.uniform(.14, .24), rng.choice([-1, 1])
        body = hsv(rng, (-5, 56), (.75, 1), (.88, 1))
        c.polygon([(x - d * s * .7, y), (x - d * s * 1.6, y - s * .55), (x - d * s * 1.6, y + s * .55)], np.clip(body * .85, 0, 1))
        c.ellipse(x, y, s, s * .58, body)
        c.ellipse(x + d * s * .55, y - s * .12, s * .13, s * .13, (1, 1, 1))
        c.ellipse(x + d * s * .58, y - s * .12, s * .07, s * .07, (.05, .05, .1))
    for _ in range(rng.integers(3, 10)):
        r = rng.uniform(.012, .03)
        bx, by = rng.uniform(.05, .95, 2)
        c.ellipse(bx, by, r, r, (.8, .92, 1))
    return c.image


def draw(rng, what, size, radii="coarse", plain=False):
    """`what` is a scene's name under "scene", or describes shapes (see draw_shapes). A canvas, still to be scaled down."""
    if what["scene"] is None:
        return draw_shapes(rng, what, size, radii, plain)
    image = globals()[what["scene"]](rng, size)
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < .5 else image


def finish(rng, canvas, size):
    """The picture at `size` pixels: one of three filters, and usually a little noise."""
    kind = rng.integers(3)
    if kind == 0 and canvas.width % size == 0:
        image = canvas.reduce(canvas.width // size)
    else:
        image = canvas.resize((size, size), Image.Resampling.BILINEAR if kind == 1 else Image.Resampling.BICUBIC)
    pixels = np.asarray(image)
    if rng.random() < .6:
        noise = rng.standard_normal(pixels.shape, dtype=np.float32) * np.float32(rng.uniform(1, 9))
        pixels = np.uint8(np.clip(np.round(pixels + noise), 0, 255))
    return pixels
