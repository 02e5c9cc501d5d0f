"""Full stops that end no sentence: of abbreviations, initials and ordinals.

A full stop that is wrongly taken for the end of a sentence is heard as a pause; two sentences taken for one are only
cut elsewhere. So the lists are generous, and what follows decides: a word that begins sentences ("The", "Then") ends
one behind all but titles.
"""

import re
import unicodedata
from functools import cache

# Entries match in any letter case; with "=" only as written, since "Max." and "sat." may end a sentence; with "#" only
# before a number.
_TITLES = """
dr dra drs prof profa mr mrs ms mx messrs sr sra srta sres sig dott avv mme mmes mlle mlles mgr msgr mons
rev revd hr frl dipl hon= Hon= Gov= Sen= Rep= Lt= Capt= Cpt= Cpl= Sgt= Maj= Cmdr= Adm= Brig= Supt= Insp= Det= Amb=
Atty= Pres= Gen= Fr= Br= St= Ste= Sto= Sta= Ven= Esq= Lieut= Ald= Engr= Eng= Const=
"""
_TITLES_OF = {
    "de": "fr fam mag hrn frl univ.-prof priv.-doz doz stud ing MMag= Oblt= Erzb= Abg= Hofr= Komm.-Rat Vors=",
    "fr": "MM= Me= Mes= pr vve bx mgr Col= Gal= Cne= Min= Prés= Sén= Ing=",
    "es": """
        d dña dñª ing ilmo excmo fdo lic licda arq gral cnel cap.= tte sto sta rvdo hno hna prof dres sras ilma
        excma emmo lda mtro mtra pbro Sgto= Cmdte= Comte= vda vdo Dip= rdo
    """,
    "it": """
        ing arch dott.ssa dottssa prof.ssa sig.ra sig.na sigg geom rag On= egr gent spett sen cav comm ill.mo
        mons uff Ten= Ispett= Proc= Sost=
    """,
    "pt": """
        d exmo exma ilmo ilma eng arq sta sto des cel gen maj
        sgt ten rev pe des.ª profs revmo alm alf Dom= Emb= Ver= Ir= engª
    """,
    "pl": """
        mec doc prof inż mgr lek hab gen płk ppłk kpt por ks
        św bł abp bp o ppor sierż plut kard adm czcig sen adw prez
    """,
    "ru": """
        проф доц акад канд гр ген св корр инж архим жа полк
        кап лейт серж ряд адм митр архиеп еп прот иер свящ подполк сен
    """,
    "tr": "sn doç yrd öğr gör av müh ecz uzm alb gen org yzb bnb hz korg tümg tuğg ütğm asb onb yb arş opr gnkur Kim=",
    "hi": "डॉ श्री श्रीमती प्रो पं सं मो सुश्री कु",
}
_WORDS = {
    "en": """
        Abp= Alb= App= Apr= Archbp= Art= Assn= Assoc= Aug= Ave= Blvd= Bros= Ch= Cir= Co= Cor= Corp= Dec= Dep=
        Dept= Dir= Enc= Eq= Est= Ex= Feb= Fig= Fri= Ft= Ger= Heb= Hwy= Inc= Intl= Jan= Jr= Jul= Jun= Lat= Ln=
        Ltd= Mar= Mass= Matt= Mfg= Mon= Mt= No= Nos= Nov= Oct= Ofc= Pkwy= Rd= Rom= Rte= Sat= Sec= Sect= Sep=
        Sept= Sq= Sr= Sun= Tab= Ter= Thu= Thur= Thurs= Treas= Tue= Tues= Univ= Vol= Wash= Wed= a.k.a abbr al=
        anon= app= approx appt apt apto arch= art# art= assoc attn avg biol ca cf ch= chap chem comp= cont cu=
        dds def= dept dev= diss= dist= ed= eds= eq= eqn eqs esp est= etc excl ext fig= figs fl= fol ft= fwd gal=
        gov't govt hr hrs ibid illus incl lb lbs max= min= mins= misc mo= mss n.b natl no# obs op= orig oz par#
        para pg ph= pp pseud pt= pub= qt ref= refs sec# sec= secs= ser= sq= suppl tab= tbsp tel temp= trans tsp
        v= viz vol vols vs wk yr yrs
    """,
    "de": """
        Dir= Fa= Komm= Obst= Präs= Red= Zi= abb abk abs abschn abt allg anh anl anm apr art= aufl aug ausg bd
        bde bearb beisp bes= betr bez bsp bspw bzgl bzw ca chr ders desgl dez dgl di= do= ebd ebda ehem eigtl
        einschl engl entspr erw= etc evang evtl exkl feb febr ff fig forts fr franz geb gebr gegr gem gesch gest
        gez ggf ggfs griech hbf hg hrsg inkl insb insbes ital jan jg jh jhd jhdt jul jun jährl kap kath korr lat
        led= lfd lt max= mi= min= mind mio mo= mrd mtl mwst nov nr nrn obj od= okt orig pers phil pkt pl proz
        rel rer resp russ röm s.o s.u sa= schw sek sen sept sog sogen sonst span st staatl std stellv str strg
        tab teilw tel tägl u.a urspr usf usw verf verg verh versch verw vgl vol vorm wg wwe zb zit zt ztschr
        zzgl zzt österr übers übl
    """,
    "fr": """
        adj adv anc ap= apr arr= art# av avr bat= bd bibl boul bp bull c.-à-d cap= cf ch= chap cie col= coll=
        dim= dir= doc= déc dép env esp= etc ets ex= exp= fasc fig fr= févr gal= graph= gén géogr hab hist= hon=
        ibid id= ill impr inf= intr introd invar ital janv juil kil= lat= lieut= litt loc= lun= mar= math= max=
        merc= min= mm mss nat= nouv nov n° obs oct p par# part# phys pl plur pp prov= préf prés= publ rem= resp=
        réf rép s.d sam= sept= sq sqq sté subst suiv sup supp sér= tab= temp= tom= trad tél univ v= var= vendr
        vol éd éds éts
    """,
    "es": """
        Soc= abr adj adm admón ago apdo aprox apt apto art arts av avda bco bibl cap caps cc cf cod col= comp=
        coord cta ctra ctv cént cía dcha dep= depto dic doc= dpto dupdo dª ed= edit ej ene entlo esc= esp= etc
        exc= ext fasc feb fig figs fol fra= gral hab= ibíd ilus impr incl izq izqda jr jul jun lib loc= lám may=
        mayúsc máx mín n.º nov nro ntra núm núms oct op= p.ej pdo pdte pl= ppal pral pról pta ptas pza pº pág
        págs párr ref reg rte s.a sec= sept set= sgte sig= sigs ss tel teléf tfno trad tít ud uds ult univ urb
        v= vd vds vid vol vols ít últ
    """,
    "it": """
        abbr agg all= apr art artt ass= avv ca cap= capp cfr cit cod= col= coll cons dep= dic dir= doc= ecc ed=
        edd es= est= etc fasc feb fig figg fraz gen= genn giu= giugn ib ibid id= ill= int= lett lug= magg mar=
        max= min= mod= nn nov op= ott p.es pag pagg par= parr prov= racc rec= red= rel sec= seg segg sett sez ss
        sup suppl tab tav tel ten= tot trad v.le v= vol voll
    """,
    "pt": """
        Al= And= Ap= Dep= Inst= Int= Min= Rod= abr ago al= and= ap= aprox apto art arts assoc av bibl cap caps
        cf cia col= coord cx cód dep dep= depto dez dir dto ed= edif esq estr etc ev= ex= fac fev fig figs fls
        gov inc= jan jr jul jun lda lgo loc= ltda mai= mar= min= mt máx mín n.º nov nº núm obs op= org orgs out=
        p.ex pag par= pp pref pref= pres= proc prof pág págs pç pça ref res= s.a sec secr seg= set= sr ss séc
        sécs tel trad trav tít univ v= vol vols vs vv
    """,
    "pl": """
        al= alb ang= arch= art bm br= ca cd cdn cyt czyt dn dod dol dosł dot dyr dł egz ew fax= fiz fot franc
        gat godz gosp gł hist il im= inw itd itp jw jęz kier kl kol kom= kop kpt kr m.in m.st maks med= mies
        min= mjr mld mln muz n.e nast nazw nb niem np nr ob= obj obyw ok= op= oprac os= ozn p.n.e par= patrz=
        pkt pl pn pom= por pos= pow poz pozn poł pp przew przyp płd płn r= red reż rodz= ros= rozdz ryc rys rz
        sek sp ss st= str sygn szer tab tel tj tow tys tzn tzw tłum ub ul ur= ust= wet= wew wewn wg wlk woj wsch
        ww wyd wym wys wz wł zach zam zał zb zd zm zob zw łac łącz śr
    """,
    "ru": """
        абз авг англ апр букв бул быв вв вкл вост вып гг геогр гл гос греч губ дек дер дир доб др ед= зав зам
        зап и.о изд ил илл им имп ин ист итал каф= кб кв кг км кн кол комн кон коп корп лат макс мес мил мин=
        млн млрд мн н.э наб напр наст нач нем неск обл обр оз ок окт отд отеч оф перев перен пл пн пог под= пом
        пос посл пр пред прибл прил прим примеч пров прол просп псевд пт разг разд ред реж респ= рис рр руб рус
        сб св сев сек секр сент сл см сост соч ср сс ст стр суб т.д т.е т.к т.н т.п табл тел тж тов тыс укр ул
        ум= упр уст устар фак факс= фам февр физ фр франц хим худ час= чел чт шт экз эт этн юж яз янв
    """,
    "tr": """
        Alm= Ara= Ağu= Blok= Bul= Cmt= Cum= Dah= Eki= Eyl= Faks= Far= Haz= Kas= Kat= Koll= Kom= Lat= Mim= Müd=
        Nis= Paz= Per= Pzt= Sal= Sek= Tem= Vet= Yun= age= agm apt apto bk bkz bl blm bulv böl cad co dai= der=
        dk drl ed= edb ens fak fr gn haz= hk hst ing= jeol kd km krş ks ltd mah mat= max= md meb mim= no no= nu
        num ort pk pos= ps s= sa= sf sk sok ss tar= tel tic tl tlf ts uzm vb vd vs yay yd yrd yy yön zf zm Çar=
        çev ör= örn üni üniv İlç= İng= Şub= şb şti
    """,
}
_STARTERS = {  # capitalised behind a full stop, they begin a sentence
    "en": """
        the a an this that these those it its he she they we you his her their our my your there here i but
        and or so then when while if because although though after before since in on at for from with as what
        who why how where yes no not now all some many most one each every please however meanwhile later once
        perhaps maybe
    """,
    "de": """
        der die das ein eine einer eines dem den er sie es wir ihr ich du und aber oder doch denn dann da
        danach wenn als ob weil im in am an auf aus bei mit nach vor zu zum zur für von seit was wer wie wo
        warum nun jetzt so auch nur noch hier dort dies diese dieser dieses man alle viele kein keine nicht ja
        nein sein seine ihre mein meine unser
    """,
    "fr": """
        le la les l un une des du ce cet cette ces il elle ils elles nous vous je tu on et mais ou donc car
        puis alors quand lorsque si comme dans en sur sous pour par avec sans chez après avant depuis qui que
        quoi où pourquoi comment c ici là son sa ses leur leurs mon ma mes notre votre oui non tous toutes
        chaque
    """,
    "es": """
        el la los las un una unos unas lo este esta estos estas ese esa eso él ella ellos ellas nosotros usted
        ustedes yo tú y pero o entonces luego después cuando si aunque porque como en con para por sin desde
        hasta sobre tras qué quién cómo dónde cuándo no sí su sus mi mis nuestro nuestra hay todo todos todas
        cada aquí allí ya también
    """,
    "it": """
        il lo la i gli le un una uno l questo questa questi queste quello quella egli lui lei loro noi voi io
        tu e ma o poi allora quando se come perché in nel nella con per da dal dalla su sul sulla dopo prima
        che chi cosa dove non sì no suo sua suoi mio mia c è qui là tutti tutte ogni
    """,
    "pt": """
        o a os as um uma uns umas este esta estes estas esse essa isso isto aquele aquela ele ela eles elas
        nós você vocês eu tu e mas ou então depois quando se embora porque como em no na nos nas com para por
        sem desde até sobre após que quem onde não sim seu sua seus suas meu minha nosso nossa há todo todos
        todas cada aqui ali já também
    """,
    "pl": """
        ten ta to te ci on ona ono oni one my wy ja ty i a ale lub albo więc potem gdy kiedy jeśli jeżeli choć
        bo ponieważ jak w we z ze na do od po przed przez dla bez o u za pod nad co kto gdzie dlaczego nie tak
        jego jej ich mój moja nasz nasza tu tam teraz wszyscy każdy jest był była było
    """,
    "ru": """
        он она оно они мы вы я ты это этот эта эти тот та те и а но или затем потом тогда когда если хотя
        потому как в во на с со к ко от до по для без из у о об за под над перед что кто где почему зачем не
        нет да его её их мой моя наш наша там тут здесь теперь все всё каждый есть был была было были
    """,
    "tr": """
        bu şu o bir ben sen biz siz onlar ve ama fakat ya sonra ancak çünkü eğer ne kim nasıl neden nerede
        niçin evet hayır her bütün tüm bunun onun bizim benim burada orada şimdi daha
    """,
}
_INTERJECTIONS = re.compile(r"(.)\1+|.*(.)\2$|ps+t|tsk|pff*t?|shh*")  # hmm, brr, shh
_VOWELS = frozenset("aeiouyıæœøаеёиоуыэюяіѣ")
_ORDINALS = ("de", "pl", "tr")  # "3. Sınıf": a full stop after a small number makes it an ordinal
_SHORT_PART = 5  # letters, of a part of "Best.-Nr."
_LATEST = 24  # characters that an abbreviation has at most, and what is in front of it
_BEFORE = re.compile(r"[\s'’(\[\"«„“‘/–—-]")
_DOTTED = re.compile(r"[^\W\d_]{1,4}(?:\.-?[^\W\d_]{1,4})+")  # Ph.D, т.е, EE.UU
_INSIDE = re.compile(r"-\w|[^\W\d_]{1,4}\.")  # behind "Ph." and "Best."
_NEXT_WORD = re.compile(r"[\s\"'«„“‘(\[¿¡]*(\w+)")


def ends_no_sentence(text: str, end: int, language: str) -> bool:
    """Whether the full stop before `end`, and before the space there, belongs to the word in front of it."""
    word = _BEFORE.split(text[max(0, end - _LATEST) : end].rstrip())[-1]
    if not word.endswith(".") or word.endswith(".."):
        return False
    word = word[:-1]
    if text[end - 1] == "." and len(word) <= _SHORT_PART and _INSIDE.match(text, end):
        return True
    if len(word) == 1 and word.lower() != word.upper():  # an initial
        return True
    if _listed(word, _titles(language)) or (f"{word.lower()}#" in _words(language) and text[end : end + 1].isdigit()):
        return True
    ordinal = language in _ORDINALS and word.isdigit() and len(word) <= 2
    short = ordinal or _DOTTED.fullmatch(word) or _listed(word, _words(language)) or _has_no_vowel(word)
    return bool(short) and not _begins_sentence(text, end, language)


def _begins_sentence(text: str, end: int, language: str) -> bool:
    following = _NEXT_WORD.match(text, end)
    return following is not None and following[1][:1].isupper() and following[1].lower() in _starters(language)


def _has_no_vowel(word: str) -> bool:
    """Whether it is short for a word, as Sgt, bzw and млн are; not a sound (hmm) or letters read out (TV)."""
    letters = unicodedata.normalize("NFD", word.lower())
    letters = "".join(letter for letter in letters if unicodedata.category(letter) != "Mn")
    return (
        2 <= len(letters) <= 5
        and letters.isalpha()
        and not word.isupper()
        and bool(re.fullmatch(r"[a-zßłçğşа-я]+", letters))
        and not _VOWELS & set(letters)
        and not _INTERJECTIONS.fullmatch(letters)
    )


def _listed(word: str, entries: frozenset[str]) -> bool:
    return word.lower() in entries or f"{word}=" in entries


@cache
def _titles(language: str) -> frozenset[str]:
    return frozenset(f"{_TITLES} {_TITLES_OF.get(language, '')}".split())


@cache
def _words(language: str) -> frozenset[str]:
    """Those of the language, and the English ones where it has none of its own."""
    return frozenset(f"etc vs cf approx {_WORDS.get(language, _WORDS['en'])}".split())


@cache
def _starters(language: str) -> frozenset[str]:
    return frozenset(_STARTERS.get(language, _STARTERS["en"]).split())
