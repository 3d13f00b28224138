"""Word lists that the training data of models/tiny is built from."""

ANIMALS = """fox dog cat horse rabbit bear owl mouse wolf duck goose frog turtle lion tiger monkey
panda sheep goat cow pig hen crow eagle otter beaver badger deer moose squirrel hedgehog penguin
seal whale dolphin crab spider bee ant snail donkey camel zebra parrot robin swan hare mole""".split()

FRUITS = """apple banana cherry grape lemon lime mango melon orange peach pear plum fig kiwi berry
apricot date papaya carrot potato tomato onion pepper bean corn pumpkin garlic spinach cabbage
lettuce radish turnip mushroom olive walnut almond rice bread butter cheese honey sugar salt soup
cake pie cookie pasta noodle salad milk juice water tea coffee""".split()

OBJECTS = """key map lantern book coin ring ball kite drum bell cup spoon basket bottle box candle
chair clock coat hat boot scarf mirror needle pencil brush rope ladder hammer shovel umbrella
violin flute whistle feather stone shell button letter blanket pillow bag bucket compass crown
flag glove jar lamp mask paddle shoe sock table toy wagon wheel""".split()

PLACES = """garden kitchen forest market school library park river bridge castle barn cave village
harbor meadow hill lake beach tower station museum bakery mill farm temple valley island attic
cellar office workshop stable tunnel orchard field pond""".split()

COLORS = """red blue green yellow purple orange black white brown gray pink golden silver""".split()

ADJECTIVES = """small brave clever happy quiet curious gentle lazy proud shy tired lonely honest
patient careful cheerful young old little kind wise silly noisy friendly hungry""".split()

OTHER = """sun moon star cloud rain snow wind storm fire ice river ocean mountain desert tree leaf
flower grass root seed branch road street city house door window wall roof floor room bed train
bus car boat ship plane bike truck engine phone radio camera screen paper ink paint color music
song dance game story poem word number name friend family mother father sister brother baby child
teacher doctor farmer baker sailor painter driver pilot king queen prince knight wizard giant
dragon ghost robot winter summer spring autumn morning evening night day week month year hour
minute hand foot head heart eye ear nose mouth arm leg finger hair face back apron arrow axe badge
bench blade bowl brick broom cable canvas card chain chalk cloth coal copper cotton crane cream
desk diamond dish dust earth edge energy fabric fence film flame forest fork frame gate gift glass
gold grain guitar hall harp helmet hook horn hotel idea iron island jacket jewel jungle kettle
knife ladder lake lawn leather lock magnet marble metal nail nest net oak oven page palace pan
paste path pearl piano pin pipe planet plate pocket pole pool port powder quilt rail ribbon rock
rocket rubber sack sail sand saw shadow shelf shirt signal silk sink skin sky smoke soap soil
spark sponge square stage stair steam steel stick straw string sword tail tank tape tent thread
thunder ticket tile tool tooth torch towel tower town track tray treasure tube tunnel valley
vase velvet village voice wave wax wheat wing wire wood wool yard zipper quick slow big tall short
long wide narrow warm cold hot cool wet dry soft hard loud bright dark light heavy empty full new
clean fresh sweet sour bitter sharp smooth rough open early late near far high low deep rich poor
strong weak""".split()

NAMES = """Ana Ben Clara David Emma Finn Grace Henry Iris Jack Kira Leo Mia Noah Olga Paul Quinn
Rosa Sam Tara Uma Victor Wendy Xavier Yara Zoe Adam Bella Carl Dora Eli Fiona George Hana Ivan
Julia Karl Lena Max Nina Oscar Petra Ralf Sara Tom Vera Walter Lucy Peter Maria Anton""".split()

CITIES = """Paris London Berlin Madrid Rome Vienna Oslo Lisbon Dublin Prague Athens Cairo Tokyo
Delhi Lima Quito Boston Denver Austin Seattle Toronto Sydney Zurich Geneva Milan Turin Porto
Lyon Hamburg Munich""".split()

JOBS = """teacher doctor farmer baker sailor painter driver pilot nurse writer singer cook""".split()

WORDS = sorted(set(ANIMALS + FRUITS + OBJECTS + PLACES + COLORS + ADJECTIVES + OTHER + JOBS))

_ONSETS = "b c d f g h j k l m n p r s t v w z br cl dr fl gr pl st tr sh ch th".split()
_VOWELS = "a e i o u a e i o ai ou ee".split()
_CODAS = ["", "", "", "n", "r", "s", "t", "l", "m", "k", "nd", "st"]


def pseudo_word(rng):
    """A pronounceable word of 3 to 8 letters which most likely is in no list."""
    while True:
        text = "".join(
            rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS)
            for _ in range(rng.randint(1, 3)))
        if 3 <= len(text) <= 8:
            return text
