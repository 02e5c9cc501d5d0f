"""Full stops that end no sentence, in all languages that have them, and those that do."""

from itertools import pairwise

import pytest

from bark_jax.speech.sentences import sentence_ends

FRAMES = {
    "en": "The committee had already spoken at some length with {} Reed and the others about the plan.",
    "de": "Die Kommission hat schon sehr lange mit {} Reed und den anderen über den Plan gesprochen.",
    "fr": "La commission avait déjà parlé très longuement avec {} Reed et les autres du plan.",
    "es": "La comisión ya había hablado muy largamente con {} Reed y los otros sobre el plan.",
    "it": "La commissione aveva già parlato molto a lungo con {} Reed e gli altri del piano.",
    "pt": "A comissão já tinha falado muito longamente com {} Reed e os outros sobre o plano.",
    "pl": "Komisja rozmawiała już bardzo długo z panem {} Reed i innymi o planie na przyszły rok.",
    "ru": "Комиссия уже очень долго говорила с ним, то есть {} Рид и остальные о плане.",
    "tr": "Komisyon gelecek yılın planı hakkında uzun süre {} Reed ve diğerleriyle konuşmuştu.",
}
ABBREVIATIONS = {
    "en": """
        Ms. Dr. Prof. Hon. Lt. Cpl. Sgt. Gov. Sen. Rep. Pres. Sr. St. Supt. Insp. Amb. Atty. vs. cf. No. Ch.
        Fig. Eq. p. approx. Approx. ca. c. Feb. Apr. Jun. Aug. Oct. Nov. Dec. Mon. Wed. Thu. Fri. Sat. Sun. Inc.
        Ltd. Co. Bros. Ave. Blvd. Rd. Est. Univ. Ph.D. a.m. J. J.R.R. D.C. al. op. ed. eds. Nr. min. max. ft.
        ext. misc. Mlle. Msgr. Capt. Gen. Rev. Jan. Mar. Sept. vol. pp. Corp. Mt. dept. e.g. i.e. Jr. U.S. Hwy.
        Eqs. lbs. Ofc. Treas. Ed.D. DDS. Dir. Ter. Cir. Mass. Wash. Ex. Cor. Rom. Matt. def. obs. orig. pub.
        abbr. anon. arch. biol. chem. comp. diss. fol. illus. mss. pseud. ser. suppl. Enc. Alb. Lat. Ger. Heb.
        Dep. Abp. Archbp.
    """,
    "de": """
        Dr. Prof. Hr. Fr. Frl. z.B. d.h. u.a. usw. bzw. ca. Nr. St. vgl. S. Kap. n.Chr. gest. Jan. Feb. Okt. 12.
        Mag. jun. Abs. Std. Min. Sek. engl. lat. Mrd. Mio. evtl. ggf. inkl. z.T. Str. Bd. Hrsg. geb. verh. Sept.
        Mo. 3. Anh. Anl. Best.-Nr. Bez. Dir. eigtl. erw. Erzb. Forts. gez. Komm. led. phil. Präs. Priv.-Doz.
        Red. rer. röm. staatl. verw. Wwe. Zi. Ztschr. MMag. Oblt. Obst. Fa.
    """,
    "fr": """
        MM. Mme. Mlle. Me. St. Ste. av. J.-C. p.ex. etc. cf. chap. vol. éd. janv. févr. sept. oct. boul. adj.
        cap. gén. col. Dr. M. p. Mgr. env. tél. art. avr. déc. apr. Cie. Sté. Éts. Ets. ap. arr. bat. bibl. Col.
        Cne. doc. esp. exp. graph. ill. impr. intr. introd. invar. ital. litt. loc. mss. nat. plur. prés. publ.
        resp. sér. tab. univ. var. Gal.
    """,
    "es": """
        Sr. Srta. Dr. Dra. D. Dña. Ing. Arq. Ud. Uds. Vd. EE.UU. p.ej. núm. Av. C. tel. aprox. cap. art. Sto.
        Sta. S.A. a.C. d.C. máx. mín. Sra. Prof. pág. vol. etc. Lic. Gral. depto. izq. Excmo. Sras. Dª. Emmo.
        Ilma. Excma. adm. cc. cént. Comte. coord. Sgto. Cmdte. dupdo. esc. exc. FF.CC. fol. hab. ít. JJ.OO. lib.
        Lda. loc. Mtro. Mtra. nro. ntra. Pbro. Pdte. pta. RR.HH. Soc. Vda. Vdo. Pº. Urb.
    """,
    "it": """
        Prof. Avv. Geom. Rag. On. S. p.es. ecc. cfr. pag. n. tel. cap. d.C. gen. feb. Spett. Gent. Sig. Dott.
        Ing. Arch. sec. vol. ca. art. nov. Uff. Ten. Fraz. dep. sez.
    """,
    "pt": """
        Sr. Sra. Dr. Profa. Eng. Exmo. Av. R. p.ex. etc. pág. n. tel. art. cap. séc. a.C. d.C. Ltda. S.A. Cia.
        Gen. Cap. Dra. Prof. obs. ex. núm. jan. Cel. Exma. apto. Profs. Dom. Revmo. Alm. Alf. Al. Lgo. Estr.
        Rod. Ap. And. Dto. vv. inc. al. nº. orgs. mar. seg. Fac. Dep. Inst. Min. Dir. Secr. Int.
    """,
    "pl": """
        inż. ul. al. pl. np. m.in. itp. r. godz. tel. nr. str. ok. mln. mld. płk. ks. dr. mgr. prof. gen. św.
        tzn. tzw. ds. wg. hab. m.st. med. wet. arch. ppor. sierż. plut. adm. kard. czcig. fax. wewn. rozdz. fot.
        il. patrz. ca. egz. poz. ust. Dz.U. ros. oprac. ss. gat. rodz.
    """,
    "ru": """
        г. вв. т.е. т.п. и.о. им. кв. акад. проф. др. напр. тыс. млн. тел. доц. ул. стр. рис. гл. см. ср. гг.
        руб. т.д. т.к. ст. г-жа. наб. оф. под. респ. факс. доб. полк. кап. лейт. серж. ряд. адм. митр. архиеп.
        еп. прот. иер. разд. сс. сост. перев. илл. прил. примеч. прибл. час. ум. нем. укр. уст. букв. перен.
        секр. дир. фак. каф.
    """,
    "tr": """
        Dr. Prof. Doç. Sn. vb. vs. bkz. cad. no. Şti. M.Ö. Av. Yrd. Öğr. Gör. Müh. mah. sok. örn. Alb. yy. M.S.
        Mim. Vet. Korg. Tümg. Tuğg. Yb. Ütğm. Asb. Onb. Bul. Blok. Kat. İlç. Faks. Dah. Koll. Kom. Müd. Sek.
        haz. der. ör. Şub. Nis. Haz. Tem. Ağu. Eyl. Eki. Kas. Ara. Sal. Çar. Per. Cum. Paz. İng. Alm. Far. Lat.
        Yun.
    """,
}


def sentences(text: str, language: str) -> list[str]:
    return [text[start:end].strip() for start, end in pairwise([0, *sentence_ends(text, language)])]


@pytest.mark.parametrize("language", FRAMES)
def test_abbreviations_end_no_sentence(language: str) -> None:
    texts = {short: FRAMES[language].format(short) for short in ABBREVIATIONS[language].split()}
    assert [short for short, text in texts.items() if sentences(text, language) != [text]] == []


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "He left at 5 p.m. | The house was dark."),
        ("en", "She lives in the U.S. | He lives in Rome."),
        ("en", "We walked 5 km. | Then we slept."),
        ("en", "It was cold, wet, etc. | But we went."),
        ("en", "He works for Reed Inc. | They sell soap."),
        ("en", "I saw Max. | Peter saw me."),
        ("en", "The cat sat. | Peter stood."),
        ("en", "Watch TV. | Read books."),
        ("en", "Hmm. | Peter is late."),
        ("en", "See art. 5 and sec. 3 of it."),
        ("de", "Er kam am 3. | Danach ging er."),
        ("de", "Wir sehen uns am 3. Oktober im Garten."),
        ("fr", "C'est de l'art. | Pierre le dit."),
        ("pt", "Maçãs, etc. | O menino come."),
        ("pl", "To jest ser. | Piotr je."),
        ("tr", "Elma vb. | Sonra gittik."),
    ],
)
def test_what_follows_decides(language: str, text: str) -> None:
    expected = text.split(" | ")
    assert sentences(" ".join(expected), language) == expected


@pytest.mark.parametrize("language", ["en", "de"])
def test_titles_never_end_a_sentence(language: str) -> None:
    assert len(sentences("We met Dr. He and Mr. So there.", language)) == 1
