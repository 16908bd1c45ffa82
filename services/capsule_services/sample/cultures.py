"""What names, streets and phone numbers look like in the places the invented people come from."""

from __future__ import annotations

from typing import Final

import attrs

__all__ = ["CULTURES", "WESTERN", "Culture"]


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    """Split "native/roman" words; one without a slash is its own romanisation. An underscore stands for a space."""
    return tuple((native, roman or native) for native, _, roman in (w.partition("/") for w in _words(text)))


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.replace("_", " ") for word in text.split())


def _lines(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split("|"))


@attrs.frozen(kw_only=True)
class Culture:
    """One country's manners. In patterns a # stands for any digit, a Z for a letter; `trunk` leads a national call."""

    country: str
    country_name: str
    language: str
    calling: str
    trunk: str = ""
    given: tuple[tuple[str, str], ...] = attrs.field(converter=_pairs)
    family: tuple[tuple[str, str], ...] = attrs.field(converter=_pairs)
    streets: tuple[str, ...] = attrs.field(converter=_lines)
    cities: tuple[str, ...] = attrs.field(converter=_lines)
    code: str
    mobile: tuple[str, ...] = attrs.field(converter=_lines)
    landline: tuple[str, ...] = attrs.field(converter=_lines)
    number_first: bool = False


# Phone ranges reserved for fiction: Ofcom (GB), NANPA (US), ComReg (IE), Bundesnetzagentur (DE), ARCEP (FR), PTS (SE).
WESTERN: Final = (
    Culture(
        country="GB",
        country_name="United Kingdom",
        language="en",
        calling="44",
        trunk="0",
        given="Amelia Siân Rhys Oliver Beatrix Zoë Callum Imogen Chloë Gareth Renée Tobias Harriet Noël Freya Angus",
        family="Ashcombe Thornby Wynfield O’Dell Pryce-Hale Larkworth Fenwick "
        "Brontëson Marlowe Tidewell Inglesby Rooke",
        streets="Rose Lane|Mill Road|St Anne’s Terrace|Harbour View|The Old Bakery, Church Row|Quarry Bank",
        cities="London|Leeds|Cardiff|Edinburgh|Bristol|Liverpool",
        code="ZZ9# #ZZ",
        mobile="7700 900###",
        landline="20 7946 0###|113 496 0###|131 496 0###|117 496 0###|151 496 0###|1632 960###",
        number_first=True,
    ),
    Culture(
        country="US",
        country_name="United States",
        language="en",
        calling="1",
        given="Maya Jackson Sofía Ethan Zoé Logan Ava Caleb Naomi Wyatt Desirée Mason Harper André Piper Levi",
        family="Calloway Reyes Hartsfield Nuñez Brookline Whitlow Okafor Stonebridge Delacroix Vance Peña Kowalke",
        streets="Maple Avenue|Canyon Drive|2nd Street|Lakeshore Blvd, Apt 4B|Juniper Court|Old Depot Road",
        cities="Portland, OR|Austin, TX|Madison, WI|Santa Fe, NM|Burlington, VT|Savannah, GA",
        code="0####",
        mobile="503 555 01##|512 555 01##|608 555 01##",
        landline="505 555 01##|802 555 01##|912 555 01##|415 555 01##|617 555 01##",
        number_first=True,
    ),
    Culture(
        country="IE",
        country_name="Ireland",
        language="ga",
        calling="353",
        trunk="0",
        given="Aoife Seán Niamh Pádraig Róisín Cillian Gráinne Dónal Síofra Éamon",
        family="Ó_Briain/OBriain Ní_Dhúill/NiDhuill Mac_Cárthaigh/MacCarthaigh Ó_Sé/OSe Kilbrannan Ballantree Fogarthy",
        streets="Sráid an Droichid|Quay Street|Bóthar na Trá|Linen Row",
        cities="Dublin|Galway|Cork|Sligo",
        code="Z## ZZ##",
        mobile="20 912 ####",
        landline="20 913 ####|20 914 ####",
        number_first=True,
    ),
    Culture(
        country="DE",
        country_name="Deutschland",
        language="de",
        calling="49",
        trunk="0",
        given="Jürgen Käthe Björn Annelöre Götz Liselotte Sören Mareike Jörg Ännchen Till Friederike Günther Ulrike",
        family="Großkopf Müllerstein Weißbach Schröttel Kühnast Ößling Brömmel Straußberg Ziegenhain Fährmann Tüllmann",
        streets="Lindenstraße|Am Weißen Stein|Gänsemarkt|Fußgasse|Schloßallee|Birkenweg",
        cities="Berlin|Hamburg|Köln|München|Frankfurt am Main",
        code="1####",
        mobile="171 39200##|171 39200##",
        landline="30 23125 ###|69 90009 ###|40 66969 ###|221 4710 ###|89 99998 ###",
    ),
    Culture(
        country="FR",
        country_name="France",
        language="fr",
        calling="33",
        trunk="0",
        given="Zoé François Maëlle Anaïs Léo Hélène Gaël Benoît Inès Cécile Jérôme Noëlle Théo Aurélie",
        family="Bœufgras Lefèvrier Château-Rouge d’Aubrac Garçonnet Montagné Delacôte Crèvecœur Fontanès L’Hôpital",
        streets="rue de l’Église|avenue des Châtaigniers|quai aux Fleurs|impasse du Cœur-Volant|place Saint-Michel",
        cities="Paris|Lyon|Besançon|Nîmes|Orléans",
        code="7####",
        mobile="6 39 98 ## ##",
        landline="1 99 00 ## ##|2 61 91 ## ##|3 53 01 ## ##|4 65 71 ## ##|5 36 49 ## ##",
        number_first=True,
    ),
    Culture(
        country="SE",
        country_name="Sverige",
        language="sv",
        calling="46",
        trunk="0",
        given="Åsa Björn Märta Sören Öystein Linnéa Håkan Saga Göran Frøya Jørn Ingebjørg",
        family="Ångström-Ek Sjöblad Hästeväg Östgren Ljungqvarn Bækgaard Nørrelund Strømstad Håkonsby Blåfjäll",
        streets="Storgatan|Björkvägen|Ågatan|Södra Hamngatan|Kyrkogården",
        cities="Malmö|Göteborg|Umeå|Örebro|Växjö",
        code="2## ##",
        mobile="70 174 06##",
        landline="31 390 06##|40 628 04##|8 465 004##|980 319 2##",
    ),
    Culture(
        country="ES",
        country_name="España",
        language="es",
        calling="34",
        given="Íñigo Begoña Álvaro Nuria Joaquín Lucía Andrés Núria Óscar Rocío Ángela Martín",
        family="Ibáñez Peñalver Muñozco Castañar Güell Zúñigaran Arroyuelo Cigüeña Vallès Ordóñez-Luz",
        streets="Calle del Olmo|Plaza Mayor|Avenida de la Constitución|Passeig de Gràcia|Camino Viejo",
        cities="Madrid|Cádiz|A Coruña|Logroño|Málaga",
        code="28###",
        mobile="600 55# ###",
        landline="910 55# ###|950 55# ###",
    ),
    Culture(
        country="PT",
        country_name="Portugal",
        language="pt",
        calling="351",
        given="João Inês Gonçalo Conceição Tomás Mafalda Luís Graça Estêvão Beatriz",
        family="Magalhãesco Brandão Conceiçal Antunesvale Gouveião Simões-Pó Figueirôa Travaços",
        streets="Rua da Conceição|Travessa do Açougue|Avenida da República|Largo São João",
        cities="Lisboa|Porto|Évora|Guimarães",
        code="1###-###",
        mobile="910 55# ###",
        landline="21 055 5###|22 055 5###",
    ),
    Culture(
        country="IT",
        country_name="Italia",
        language="it",
        calling="39",
        given="Niccolò Chiara Giosuè Lucia Matteo Ginevra Raffaele Desirè Tommaso Fiamma",
        family="Bellacittà Ferronello Dell’Orto Carratù Pontevecchi Montalbò Sottile Acquachiara",
        streets="Via dell’Università|Corso Libertà|Piazza San Nicolò|Vicolo Stretto",
        cities="Roma|Forlì|Torino|Napoli",
        code="00###",
        mobile="320 055 5###",
        landline="06 0555 ####|02 0555 ####",
    ),
)

CULTURES: Final = (
    *WESTERN,
    Culture(
        country="PL",
        country_name="Polska",
        language="pl",
        calling="48",
        given="Łukasz Małgorzata Święcisław Żaneta Paweł Agnieszka Michał Jadwiga",
        family="Dąbrówka Źrebięcki Wiśniołek Ćwiklińska Żółtowski Łabędź Gęsioradz",
        streets="ul. Świętojańska|ul. Źródlana|Aleje Żurawie",
        cities="Łódź|Kraków|Gdańsk|Poznań",
        code="3#-###",
        mobile="500 055 ###",
        landline="22 055 5# ##|12 055 5# ##",
    ),
    Culture(
        country="CZ",
        country_name="Česko",
        language="cs",
        calling="420",
        given="Jiří Zdeňka Řehoř Eliška Ondřej Šárka Matěj Květa",
        family="Křečkovský Žďárská Růžičkář Vřešťál Ňuňánek Ťapkal Hůlkovec",
        streets="Dlouhá třída|Křižíkova|Na Příkopech",
        cities="Praha|Plzeň|Ústí nad Labem|Děčín",
        code="1## ##",
        mobile="601 055 ###",
        landline="210 055 ###|530 055 ###",
    ),
    Culture(
        country="TR",
        country_name="Türkiye",
        language="tr",
        calling="90",
        trunk="0",
        given="Çağrı İpek Şükrü Gülşen Ömer Işıl Doğan Tuğba",
        family="Yıldızoğulu Işıkdağ Çınarlı Güneşsoy Şahinkaya Öztaşkın",
        streets="İstiklâl Caddesi|Çiçek Sokağı|Barış Bulvarı",
        cities="İstanbul|İzmir|Muğla|Eskişehir",
        code="34###",
        mobile="501 055 55 ##|501 055 56 ##",
        landline="212 055 5# ##|312 055 5# ##",
    ),
    Culture(
        country="VN",
        country_name="Việt Nam",
        language="vi",
        calling="84",
        trunk="0",
        given="Thị_Hạnh/ThiHanh Đức/Duc Tuấn/Tuan Ngọc_Ánh/NgocAnh Phượng/Phuong Quốc_Bảo/QuocBao Mỹ_Lệ/MyLe",
        family="Nguyễn/Nguyen Đặng/Dang Trương/Truong Hoàng/Hoang Vũ/Vu Lý/Ly",
        streets="Đường Láng|Phố Huế|Đường Lê Lợi",
        cities="Hà Nội|Đà Nẵng|Cần Thơ|Huế",
        code="1#####",
        mobile="90 055 5###",
        landline="24 0555 ####|28 0555 ####",
    ),
    Culture(
        country="GR",
        country_name="Ελλάδα",
        language="el",
        calling="30",
        given="Αλέξανδρος/Alexandros Ελένη/Eleni Γιώργος/Giorgos Ευφροσύνη/Effrosyni Νίκος/Nikos "
        "Ζωή/Zoi Άρης/Aris Δάφνη/Dafni",
        family="Λιθάρης/Litharis Θαλασσινού/Thalassinou Ψαράκης/Psarakis Ανεμογιάννης/Anemogiannis "
        "Κεδρίδου/Kedridou Χρυσός/Chrysos",
        streets="Οδός Ερμού|Λεωφόρος Κηφισίας|Πλατεία Αριστοτέλους",
        cities="Αθήνα|Θεσσαλονίκη|Πάτρα|Ηράκλειο",
        code="1## ##",
        mobile="690 055 5###",
        landline="210 055 5###|231 055 5###",
    ),
    Culture(
        country="RU",
        country_name="Россия",
        language="ru",
        calling="7",
        trunk="8",
        given="Алёна/Alyona Фёдор/Fyodor Юлия/Yuliya Тимофей/Timofey Зоя/Zoya "
        "Ярослав/Yaroslav Любовь/Lyubov Игнат/Ignat",
        family="Берёзкин/Beryozkin Щукина/Shchukina Журавлёв/Zhuravlyov Ольховская/Olkhovskaya "
        "Сугробов/Sugrobov Цаплина/Tsaplina",
        streets="ул. Садовая|пр. Мира|Малая Озёрная ул.",
        cities="Москва|Казань|Орёл|Томск",
        code="1#####",
        mobile="900 055-##-##",
        landline="495 055-##-##|843 055-##-##",
    ),
    Culture(
        country="UA",
        country_name="Україна",
        language="uk",
        calling="380",
        trunk="0",
        given="Їжакевич/Yizhak Соломія/Solomiia Остап/Ostap Єва/Yeva Гнат/Hnat Мар’яна/Mariana",
        family="Ґудзик/Gudzyk Вітряк/Vitriak Калинюк/Kalyniuk Польова/Poliova Дзвінчук/Dzvinchuk",
        streets="вул. Хрещата|пров. Їжачий|бульв. Каштановий",
        cities="Київ|Львів|Харків|Чернівці",
        code="0####",
        mobile="50 055 5# ##|67 055 5# ##",
        landline="44 055 5# ##|32 055 5# ##",
    ),
    Culture(
        country="SA",
        country_name="المملكة العربية السعودية",
        language="ar",
        calling="966",
        trunk="0",
        given="ليلى/Layla يوسف/Yusuf نور/Nour سلمى/Salma خالد/Khalid هدى/Huda زياد/Ziyad ريم/Reem",
        family="النخيل/Alnakhil البحري/Albahri الصحراوي/Alsahrawi القمري/Alqamari الزيتوني/Alzaytuni",
        streets="شارع النخيل|طريق الميناء|حي الياسمين",
        cities="الرياض|جدة|الدمام|أبها",
        code="1####",
        mobile="50 055 5###|55 055 5###",
        landline="11 055 5###|12 055 5###",
    ),
    Culture(
        country="IL",
        country_name="ישראל",
        language="he",
        calling="972",
        trunk="0",
        given="נועם/Noam תמר/Tamar אליהו/Eliyahu שירה/Shira יונתן/Yonatan רות/Rut",
        family="ברושי/Broshi אלמוג/Almog כוכבי/Kochavi גלבוע/Gilboa נחליאלי/Nachlieli",
        streets="רחוב האורן|שדרות הים|דרך ההר",
        cities="תל אביב|חיפה|ירושלים|אילת",
        code="6######",
        mobile="50-055-####",
        landline="3-055-####|4-055-####",
    ),
    Culture(
        country="IN",
        country_name="भारत",
        language="hi",
        calling="91",
        trunk="0",
        given="प्रिया/Priya अर्जुन/Arjun सुमित्रा/Sumitra विवेक/Vivek ज्योति/Jyoti कृष्णा/Krishna नीलम/Neelam",
        family="हिमालयी/Himalayi त्रिपुरारी/Tripurari चन्द्रवंशी/Chandravanshi गंगोत्री/Gangotri सूर्यमुखी/Suryamukhi",
        streets="महात्मा मार्ग|गुलाब नगर|पुराना बाज़ार",
        cities="नई दिल्ली|जयपुर|पुणे|लखनऊ",
        code="1#####",
        mobile="90005 55###",
        landline="11 0555 ####|22 0555 ####",
    ),
    Culture(
        country="TH",
        country_name="ประเทศไทย",
        language="th",
        calling="66",
        trunk="0",
        given="สมหญิง/Somying กิตติ/Kitti น้ำฝน/Namfon ธีรพล/Thiraphon ดวงใจ/Duangchai อนันต์/Anan",
        family="ทองแม่น้ำ/Thongmaenam ศรีภูเขา/Siphukhao ใบไม้เขียว/Baimaikhiao จันทร์ลอย/Chanloi",
        streets="ถนนดอกบัว|ซอยริมน้ำ|ถนนพระจันทร์",
        cities="กรุงเทพมหานคร|เชียงใหม่|ขอนแก่น|ภูเก็ต",
        code="1####",
        mobile="80 055 5###|90 055 5###",
        landline="2 055 5###|53 055 ###",
    ),
    Culture(
        country="CN",
        country_name="中国",
        language="zh",
        calling="86",
        given="静怡/Jingyi 浩然/Haoran 雪梅/Xuemei 子轩/Zixuan 晓东/Xiaodong 玉兰/Yulan 嘉乐/Jiale",
        family="欧阳/Ouyang 林/Lin 诸葛/Zhuge 钟/Zhong 苏/Su 慕容/Murong 龚/Gong",
        streets="桃花路|长河大道|梅园巷",
        cities="北京|上海|成都|哈尔滨",
        code="1#####",
        mobile="130 0055 5###|139 0055 5###",
        landline="10 0555 ####|21 0555 ####",
    ),
    Culture(
        country="JP",
        country_name="日本",
        language="ja",
        calling="81",
        trunk="0",
        given="さくら/Sakura 健太郎/Kentaro 美咲/Misaki ユウキ/Yuki 千尋/Chihiro 蓮/Ren 葵/Aoi",
        family="朝霧/Asagiri 小鳥遊/Takanashi 月見里/Yamanashi 渡邉/Watanabe 髙橋/Takahashi 雪村/Yukimura",
        streets="桜町|若葉台|港通り",
        cities="東京都|大阪市|札幌市|京都市",
        code="1##-####",
        mobile="90-0555-####|80-0555-####",
        landline="3-0555-####|6-0555-####",
    ),
    Culture(
        country="KR",
        country_name="대한민국",
        language="ko",
        calling="82",
        trunk="0",
        given="서연/Seoyeon 민준/Minjun 지우/Jiu 하늘/Haneul 도현/Dohyeon 은별/Eunbyeol",
        family="김/Kim 황보/Hwangbo 남궁/Namgung 윤/Yun 제갈/Jegal 서문/Seomun",
        streets="은행로|달빛길|강변대로",
        cities="서울|부산|대전|제주",
        code="0####",
        mobile="10-0055-####",
        landline="2-055-####|51-055-####",
    ),
)
