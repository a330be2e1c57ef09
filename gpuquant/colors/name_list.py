"""Plain words for colors, and the colors that people call so.

Each name stands before the color, or the colors, in its middle; any other color is named after the nearest of them.
"""

NAMES = """
black 000000 060606; near black 101010; blackish gray 1d1d1d; very dark gray 2a2a2a 303030; charcoal 363636 3c3c3c
dark gray 444444 4c4c4c; medium dark gray 555555 5d5d5d; dim gray 666666; steel gray 727375; gray 828282 898989
medium gray 979797; medium light gray a9a9a9; silver bbbbbb; light gray cccccc; pale gray dadada
very light gray e7e7e7; near white f4f4f4; white ffffff

reddish black 241b1b; brownish black 241d18; greenish black 161c17; bluish black 14191f; purplish black 1f1a22
reddish gray 8f8080; dark reddish gray 5c5050 665b5b; very dark reddish gray 352d2e; pinkish gray c1b4b3
pinkish white f4ebe9; light pinkish gray dcd2d1; brownish gray 7d7066 665d56; dark brownish gray 4d4540
warm gray 948c82; light warm gray bfb7ad; pale warm gray dcd5cc; dark warm gray 5c564f; very dark warm gray 332f2b
greenish gray 828b83; dark greenish gray 4e554f 5e665d; very dark greenish gray 2a302b; light greenish gray bac3bb
greenish white eef4ee; slate gray 5e6f81 708090; dark slate 3a4854; very dark bluish gray 2a2f35; bluish gray 808b95
dark bluish gray 4c555f 5b646d; light bluish gray b6bfc9 a3afb8; pale bluish gray d8dee5; bluish white eef3f8
purplish gray 88818b; dark purplish gray 544e58 645e68; very dark purplish gray 302b34; light purplish gray c0b9c3
pale purplish gray dfdae2; purplish white f3eff6

red ee1111 d32f2f; bright red ff3a30; light red e57373 dc5a5a; dark red 8b1010; deep red a3151d; very dark red 450b0d
brick red a8382c; crimson c8143c dc143c; pinkish red f03a60; burgundy 6e1428; wine red 722f3a; maroon 6e1111
dusty red b05a58; grayish red 906060; dark grayish red 543c3e; orange red ff4a1c; reddish orange ee5a2c
raspberry b0245a; coral f4735c ff7f50; light coral f08080; salmon fa8072; light salmon f5a58c; terracotta c9644a
rust a8461e

pink f5a3b5 ffc0cb; light pink ffc9d2; pale pink f7dcde; very pale pink fceff0; bright pink ff6fa3; hot pink ff4fab
deep pink e8207a; rose pink e27590; dark pink c85a7e; rose d4486a; dusty pink d3a1a4; dusty rose b8767a
light dusty pink e2c0c0; grayish pink bfa3a3; dark grayish pink a0868a; salmon pink f5a097; pinkish beige dcbfb0
pinkish tan cb9c86; peach ffcba4 f8bf98; light peach fddcc4; pale peach f8e8dc; mauve b288a2; light mauve d2b3c6
dark mauve 85607a

magenta e010c0 c8187c; bright magenta ff30e8; dark magenta 880e6a; purplish pink ea94c8
dark purplish pink c46c9c b4558c; light purplish pink f4c4e0; pale purplish pink f8e4f0; orchid d070cc
dark orchid b040c0; light orchid e8aee6; plum 7e3a6a 651860; dark plum 4c2040; purplish red a02860
dark purplish red 631a42; very dark purplish red 30101f; dusty plum 855770

purple 8a2f9e 800080; bright purple a93cf0; light purple ba8cd8; pale purple dcc6ea; very pale purple f1e8f7
deep purple 5e1e86; dark purple 4b1f5c 543a70; very dark purple 2a1132; eggplant 3f1d40; dusty purple 84628f
grayish purple 7d6a85 9183a0; dark grayish purple 4f4053; light grayish purple b0a2b6; pale grayish purple d6cbda
lilac cfa6d8 dfb4f6; lavender c7b0ec; pale lavender e4dcf6; violet 7a3fd0 8f55dc; bright violet 8c35ff
dark violet 4a1f96; light violet a98ae8; dusty violet 6a5a94; grayish violet 77709a 8583aa; dark grayish violet 504e68
indigo 42209a; very dark violet 1d1140

blue violet 5f50c8; slate blue 6762b4 6a5acd; bright blue violet 6a58f0; periwinkle 979cee; light periwinkle b9bef5
dark indigo 2a2566; dark slate blue 443f7c

blue 2452d6 1010f0 2f6bd0; bright blue 1a66ff; medium blue 3c6cb4; royal blue 3a62e0; cobalt blue 1a47a8
dark blue 16306e 104a84; deep blue 0a2a9a; navy blue 121c58; very dark blue 0e1838; blackish blue 152030
midnight blue 1e2a48; denim blue 3e6591; steel blue 4682b4; dark steel blue 2c5074; light steel blue 8fb2d4
light blue 8cbcf0 a8cff2 a8c4f8; pale blue cfe3f6; very pale blue e6f1fc; sky blue 66b6ee 87ceeb; deep sky blue 18a5f5
cornflower blue 6495ed 7ea6f8; dusty blue 7896b6; grayish blue 58708c; dark grayish blue 36465c
light grayish blue 9fb2c8; pale grayish blue c8d5e2; powder blue b4d7e4; ice blue d9eef6; cerulean blue 1c86b8
ocean blue 0f6790; petrol blue 124a62

cyan 10d4e8 00b4d0; aqua blue 5cbccf; bright cyan 30f0ff; light cyan 98e8f0 84dae8; pale cyan cdf2f6
very pale cyan e8fafb; dark cyan 0a7f92; teal 008080 138a86; dark teal 0c5054; very dark teal 0b2f32 0d2933
light teal 5cb8b4; turquoise 34d2c2; bright turquoise 4cf5e4; dark turquoise 12a8a2; light turquoise 8ce6da
pale turquoise c6f2ec; aquamarine 7cf4d0; grayish teal 5f8888 4e6a69; dark grayish teal 39504f
light grayish teal 9bbaba; pale grayish teal cbdddc; dusty teal 4c8c88; cadet blue 5f9ea8

green 1e9e35 008000; bright green 20e030; lime green 40cc38; light green 86d888; pale green c0ebc0
very pale green e4f6e4; dark green 0f5222; very dark green 0c2b15; forest green 226b2c; grayish green 6f8a72
dark grayish green 405043; light grayish green a6bea8; pale grayish green d0ded0; sage green 9caf88
light sage green bccaac; moss green 6c8c40; fern green 4f7942; sea green 2e8b57 3a9a6c; emerald green 10a860
medium green 44bf6c; deep green 0a6b48; jade green 3fa67c; mint green 9af0b4 a4e6c4; pale mint d4f5e4
spring green 20f090; pine green 1e4c3c; dark pine green 122c24; dusty green 689878; hunter green 355e3b
light sea green 7cc8a4

yellow green a0cc34; lime b4ee20; chartreuse 8cf510; light yellow green c4e684; pale yellow green e1f2c2
dark yellow green 5c8414; grass green 4e9a2a; apple green 86b432; olive green 5a6824; dark olive green 38421c
light olive green a3ad6a; pale olive green c4cc80; grayish olive green 6c7454; very dark olive green 20270f

olive 7c7a1e 808000; dark olive 4a4718 524e08; very dark olive 2a280f; light olive a8a24a; grayish olive 6b684e 807d55
light grayish olive a5a37e; dark grayish olive 42402e; olive gray 7a7864; medium olive gray 94927b
light olive gray b0ae98; pale olive gray d0ceba; dark olive gray 58564a; army green 4b5320; khaki b9ae72
grayish khaki a09876; khaki brown 8a784f; light khaki d9d09c; pale khaki e9e4c8; olive brown 6b5520
light olive brown 967117; dark olive brown 3e331a

yellow fae61e f4d92e; bright yellow fff200; light yellow fdf07e; pale yellow f9f2b4; very pale yellow fdfae0
lemon yellow f4f04e; greenish yellow dfe83a; dark yellow c2a80c c6ba1a; dusty yellow d8cf50; mustard yellow d8aa1c
gold f5c518; golden yellow ffd23c; dark gold b08a1a; amber ffb300 f3a70c; straw yellow e3cf7c; wheat f0dab0
pale gold f5dc98; cream fbf1d0 f7e8c8; ivory fcf8ea; off-white f5f1e9; beige e8d9bf e0cfb2; light beige f0e7d8
dark beige c9b699; sand d8c090; taupe 85766a; dark taupe 5d5147; light taupe b3a496

orange ff8c1a f57c00; dark orange d66a12; light orange ffb468; pale orange fbd3a4; apricot f6b080; dusty orange e29058
ochre c97c22; burnt orange c4561a; golden brown a0681c 7f530f; copper b87333

brown 7b4a2a 875632 66452c; dark brown 4b2f1c; very dark brown 2d1e14; light brown a87850; reddish brown 7d3a24 6f2d22
dark reddish brown 4b2218; very dark reddish brown 2c1512; light reddish brown ad705a; grayish brown 6b574a 665240
dark grayish brown 43362d; light grayish brown 9a8270 a0927c; yellowish brown 8b6535
dark yellowish brown 4f3b1e 684708; light yellowish brown b58d58; chocolate brown 5c331a; chestnut brown 8a4030
orange brown a85c1e; tan d2b48c cba678; light tan e0c8a6; dark tan b0906c; sandy brown e2a567; rosy brown a8807a
dusty brown 8a6254
"""
