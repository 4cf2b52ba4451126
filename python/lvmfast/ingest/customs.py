"""Names that wikis use by custom, in languages with a large Wikipedia."""

#: Templates that make a page a disambiguation page.
DISAMBIGUATION_TEMPLATES = (
    "disambig|disambiguation|disamb|dab|hndis|geodis|numberdis|schooldis|hospitaldis|mathdab|letter disambig|"
    "letter disambiguation|letter-number combination disambiguation|airport disambiguation|begriffsklärung|"
    "homonymie|desambiguación|desambiguação|disambigua|doorverwijspagina|ujednoznacznienie|неоднозначность|"
    "пояснение|曖昧さ回避|aimai|消歧义|消歧義|olika betydelser|förgrening|rozcestník|dezambiguizare|egyért|"
    "anlam ayrımı|trang định hướng|täsmennyssivu"
).split("|")

#: Headings of sections that are no prose, lower case.
BOILERPLATE_HEADINGS = frozenset(
    (
        "references|external links|see also|further reading|notes|footnotes|bibliography|sources|citations|"
        "notes and references|references and notes|gallery|works cited|literature cited|"
        "weblinks|einzelnachweise|literatur|siehe auch|anmerkungen|notes et références|liens externes|"
        "voir aussi|bibliographie|articles connexes|referencias|enlaces externos|véase también|bibliografía|"
        "note|collegamenti esterni|altri progetti|voci correlate|bibliografia|referências|ligações externas|"
        "ver também|примечания|ссылки|литература|см. также|источници|външни препратки|бележки|вижте също|"
        "脚注|外部リンク|関連項目|参考文献|参考资料|外部链接|參考資料|外部連結|przypisy|linki zewnętrzne"
    ).split("|")
)
