"""Chinese captions for the generated pictures, with what each of them claims.

A caption is a text and a tuple of claims, one per name in FACTS: None claims nothing, anything else must equal the picture's. So whether
a caption is true of a picture is known, and training never pushes a picture away from another picture's caption that happens to fit it.
"""
from pictures import COLOURS, POSITIONS, SCENES, SHAPES, SIZES

FACTS = ("scene", "colour", "shape", "count", "position", "size")
COLOUR = {"red": "红", "orange": "橙", "yellow": "黄", "green": "绿", "blue": "蓝", "purple": "紫", "pink": "粉", "brown": "棕", "black": "黑",
          "white": "白"}
COLOUR_MORE = {"orange": ["橘色", "橘黄色"], "pink": ["粉红色", "粉红"], "brown": ["褐色", "咖啡色"]}
SHAPE = {"circle": ["圆形", "圆", "圆圈", "圆点", "圆球"], "square": ["正方形", "方块", "方形", "四方形"], "triangle": ["三角形", "三角"],
         "star": ["五角星", "星星", "星形", "五角星形"], "heart": ["爱心", "心形", "心", "桃心"], "diamond": ["菱形", "钻石形", "菱形块"],
         "cross": ["十字", "十字形", "加号", "十字架"], "ring": ["圆环", "环形", "圆环形", "环"]}
NUMBER = {1: ["一", "1"], 2: ["两", "2", "二"], 3: ["三", "3"], 4: ["四", "4"], 5: ["五", "5"]}
MEASURE = {"star": ["个", "颗"], "heart": ["个", "颗"], "square": ["个", "块"]}
POSITION = {"left": ["左边", "左侧", "左面", "左方"], "right": ["右边", "右侧", "右面", "右方"], "top": ["上面", "上方", "上边", "顶部"],
            "bottom": ["下面", "下方", "下边", "底部"], "centre": ["中间", "中央", "正中间", "中心"]}
SIZE = {"small": ["小", "小小的", "很小的", "小的"], "large": ["大", "大大的", "很大的", "大的", "巨大的"]}
ANY_SHAPE = ["图形", "形状", "东西", "图案"]
SCENE = {
    "sunset": ["日落", "海边的日落", "夕阳", "海上的夕阳", "大海上的落日", "落日", "傍晚的海面", "太阳落山", "晚霞", "黄昏的大海", "海上日落"],
    "night": ["夜空", "星空", "夜晚的天空", "月亮和星星", "月亮", "夜里的月亮", "满天星星的夜空", "晚上的星空", "夜晚", "黑夜里的月亮和星星"],
    "house": ["房子", "草地上的房子", "一座房子", "一间小屋", "小屋", "草地上的小房子", "家", "一栋有红屋顶的房子", "房屋", "乡村的房子"],
    "mountain": ["雪山", "山", "高山", "一座雪山", "山峰", "白雪覆盖的山", "山顶有雪的高山", "群山", "雪白的山峰"],
    "tree": ["树", "一棵树", "大树", "一棵大树", "草地上的树", "绿色的树", "树木", "草地上的一棵大树"],
    "rainbow": ["彩虹", "一道彩虹", "天上的彩虹", "雨后的彩虹", "七色的彩虹", "天空中的彩虹", "草地上的彩虹"],
    "rain": ["下雨的城市", "雨中的城市", "城市", "雨天", "下雨", "雨天的高楼", "城市里在下雨", "雨中的高楼大厦", "楼房", "高楼"],
    "flower": ["花", "一朵花", "花朵", "草地上的花", "一朵盛开的花", "盛开的花朵", "鲜花", "草地上的一朵花"],
    "sailboat": ["帆船", "船", "海上的帆船", "一艘帆船", "大海上的船", "小船", "一条小船", "海面上的一艘船"],
    "snowman": ["雪人", "一个雪人", "雪地里的雪人", "冬天的雪人", "堆雪人", "戴帽子的雪人", "雪地上的一个雪人"],
    "desert": ["沙漠", "仙人掌", "沙漠里的仙人掌", "沙漠中的仙人掌", "炎热的沙漠", "沙漠和太阳", "沙丘", "沙漠里有仙人掌"],
    "fish": ["鱼", "水里的鱼", "小鱼", "海底的鱼", "水中的鱼", "鱼在游泳", "海里的小鱼", "金鱼"],
}
TEMPLATES = ["{}", "一张{}的图片", "一张{}的照片", "{}的图片", "{}的照片", "一幅{}的画", "一张{}的图", "图中有{}", "图片里有{}", "画面上是{}",
             "画的是{}", "一张{}的插图", "这是{}", "这张图片上有{}", "一张清晰的{}的照片", "一张模糊的{}的照片", "{}的图像", "关于{}的图片",
             "一张画着{}的图片", "一张小小的{}的照片", "好看的{}", "{}的卡通画", "一张很好的{}的图片", "{}的特写"]
HELD_OUT_TEMPLATES = ["这是一张{}的图像", "画面里画的是{}", "一幅好看的{}的插图", "照片里有{}"]  # never seen in training


def pick(rng, options):
    return options[rng.integers(len(options))]


def colour_words(rng, colour, noun):
    """The colour, before a noun (with or without 的) or alone."""
    words = [COLOUR[colour] + "色"] * 3 + COLOUR_MORE.get(colour, []) + ([COLOUR[colour]] if noun or rng.random() < .5 else [])
    word = pick(rng, words)
    return word + ("的" if noun and (len(word) > 1 and rng.random() < .8) else "")


def noun_phrase(rng, what, claims):
    """"三个红色的圆形" with what `claims` names, and nothing else."""
    shape = pick(rng, SHAPE[what["shape"]]) if "shape" in claims else pick(rng, ANY_SHAPE)
    if shape == "星星" and "colour" not in claims and "count" not in claims:
        shape = "五角星"  # else the night sky would fit
    colour = colour_words(rng, what["colour"], True) if "colour" in claims else ""
    size = pick(rng, SIZE[what["size"]]) if "size" in claims else ""
    body = size + colour + shape if rng.random() < .5 or not size.endswith("的") and not colour.endswith("的") else colour + size + shape
    if "count" not in claims:
        return body
    measure = pick(rng, MEASURE.get(what["shape"], ["个"])) if "shape" in claims else "个"
    number = pick(rng, NUMBER[what["count"]]) + measure
    if rng.random() < .12:
        return f"{body}，一共{number}" if rng.random() < .5 else f"{body}有{number}"
    return number + body


def shape_caption(rng, what, claims):
    """The text of one picture of shapes; `claims` is a set of names out of FACTS."""
    inner = claims - {"position"}
    if not inner:
        phrase = ""
    elif inner == {"colour"} and rng.random() < .4:
        phrase = colour_words(rng, what["colour"], False)
    elif inner == {"count"} and rng.random() < .4:
        phrase = pick(rng, NUMBER[what["count"]]) + "个"
    else:
        phrase = noun_phrase(rng, what, inner)
    if "position" in claims:
        place = pick(rng, POSITION[what["position"]])
        phrase = phrase or pick(rng, ANY_SHAPE)
        phrase = pick(rng, ["{1}有{0}", "{0}在{1}", "{1}的{0}", "在{1}的{0}", "画面{1}有{0}", "画面{1}的{0}", "位于{1}的{0}", "{1}是{0}",
                            "图片{1}的{0}"]).format(phrase, place)
    return phrase


def caption(rng, what, must=()):
    """A random caption that is true of the picture, and its claims. It claims what `must` names, where the picture has it."""
    if what["scene"] is not None:
        text, claims = pick(rng, SCENE[what["scene"]]), {"scene"}
    else:
        has = [name for name in FACTS[1:] if what[name] is not None]
        keep = rng.choice([.25, .6, .9])
        claims = {name for name in has if rng.random() < (keep if name != "size" else .3) or (name in must and rng.random() < .9)}
        if not claims:
            claims = {pick(rng, has)}
        text = shape_caption(rng, what, claims)
    if rng.random() < .6:
        text = pick(rng, TEMPLATES).format(text)
    if rng.random() < .1:
        text += pick(rng, ["。", "！", "."])
    return text, tuple(what[name] if name in claims or name == "scene" else None for name in FACTS)


INDEX = {"scene": SCENES, "colour": tuple(COLOURS), "shape": SHAPES, "count": (1, 2, 3, 4, 5), "position": POSITIONS, "size": SIZES}


def codes(what, claimed=None):
    """A row of small integers: the picture's facts (-1: has none), or with `claimed` the claims (-2: claims nothing)."""
    row = []
    for at, name in enumerate(FACTS):
        value = what[name] if claimed is None else claimed[at]
        missing = -1 if claimed is None or name == "scene" else -2
        row.append(missing if value is None else INDEX[name].index(value))
    return row
