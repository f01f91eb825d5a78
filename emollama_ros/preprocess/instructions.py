"""Words that tell a machine to do something, told apart from what people say to each other.

A transcript is data, and nothing here follows it. Who reads one can leave such words out altogether: a robot
counts none of a sentence that would talk it into a label, and a data set's clip is not annotated. The phrases
are the usual ones, in English, Chinese, German and Indonesian; who words it otherwise gets past them, so this
is a fence and not the only one. People do say "forget it", "ignore him" and "tell me your secret": only words
that make sense to a machine count, so that ordinary speech is kept.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

#: Longest piece of a text that is told, characters.
_SHOWN_CHARS = 80

#: The few words that may stand between two that count.
_FEW = r"(?:[\w'’]+\W+){0,4}?"
_INSTRUCTIONS = r"(?:instructions?|prompts?|guidelines?|directives?|system\s+messages?|commands?|context)"

#: What is asked of the machine, and how that reads. Matched without regard to case.
_PHRASES: Mapping[str, str] = {
    "to drop its instructions": "|".join(
        (
            rf"\b(?:ignore|disregard|forget|override|bypass|discard|overrule)\W+{_FEW}"
            rf"(?:previous|prior|above|earlier|preceding|foregoing|former|system|your|initial|original)\W+"
            rf"{_FEW}{_INSTRUCTIONS}\b",
            rf"\b(?:ignore|disregard|override|bypass)\W+(?:all|any|every)\W+(?:of\W+)?(?:the\W+|these\W+|those\W+)?"
            rf"{_INSTRUCTIONS}\b",
            r"\b(?:ignore|disregard|forget)\W+(?:everything|all|anything)\W+(?:that\W+(?:is|was)\W+)?"
            r"(?:above|written\W+above|before\W+this)\b",
            r"\b(?:stop|don['’]?t|do\W+not)\W+follow(?:ing)?\W+(?:the|your|any|those)\W+"
            rf"(?:{_FEW})(?:instructions|prompt|guidelines)\b",
            r"(?:忽略|无视|忽視|無視|忘记|忘記|不要理会)[^。！？\n]{0,8}"
            r"(?:之前|以上|上面|前面|先前|所有|系统|系統)[^。！？\n]{0,8}(?:指令|指示|提示|命令|规则|規則)",
            r"\b(?:ignoriere?|vergiss|missachte)\W+(?:\w+\W+){0,3}?"
            r"(?:vorherigen?|bisherigen?|obigen?|vorigen?|früheren?)\W+(?:\w+\W+){0,2}?"
            r"(?:anweisung|anweisungen|instruktionen|befehle|vorgaben)\b",
            r"\b(?:ignore|disregard|forget)\W+(?:all\W+of\W+)?the\W+(?:above|foregoing|preceding)\b",
            r"\b(?:abaikan|lupakan)\W+(?:\w+\W+){0,2}?(?:instruksi|perintah)\b",
        )
    ),
    "to take other instructions": "|".join(
        (
            r"\b(?:new|updated|additional|real|actual|revised|important)\W+(?:system\W+)?"
            r"(?:instructions?|task|prompt)\s*(?:[:：]|for\s+(?:the\s+)?(?:ai|model|assistant|annotator)\b)",
            r"\byou\s+are\s+(?:now|no\s+longer)\s+(?:an?\s+|in\s+|the\s+)?(?:\w+\s+){0,2}?"
            r"(?:ai|assistant|language\s+model|chatbot|dan|developer\s+mode|unrestricted|jailbroken)\b",
            r"\b(?:pretend|act)\s+(?:to\s+be|as|like)\s+(?:if\s+you\s+(?:are|were)\s+)?(?:an?\s+)?"
            r"(?:unrestricted|different|another|uncensored)\s+(?:ai|assistant|language\s+model|model)\b",
            r"\b(?:enable|enter|activate)\s+(?:developer|debug|god|admin|dan)\s+mode\b",
            r"\b(?:attention|note|message|instructions?)\s+(?:to|for)\s+(?:the\s+|all\s+|any\s+)?"
            r"(?:ai|llm|language\s+models?|assistant|annotators?|annotation\s+(?:model|agent|system|pipeline))\b",
            r"\bfollow\W+(?:only\W+)?(?:these|the\W+following|my)\W+(?:new\W+)?instructions\W+(?:instead|only)\b",
        )
    ),
    "to reveal what is secret": "|".join(
        (
            rf"\b(?:reveal|print|show|output|repeat|leak|send|tell|give|disclose|expose|display|return|write)\W+{_FEW}"
            r"(?:system\W+prompt|hidden\W+prompt|initial\W+prompt|(?:your|the)\W+(?:instructions\W+above|prompt\W+above)"
            r"|api[\W_]*keys?|(?:secret|private|access|openai)\W+(?:api\W+)?(?:keys?|tokens?)"
            r"|environment\W+variables?|credentials)\b",
            r"\b(?:reveal|leak|exfiltrate|disclose|output|print)\W+(?:the|your|its|any|all)\W+(?:keys?|passwords?|secrets?"
            r"|prompts?|instructions)\b(?!\W+(?:to|of|for)\b)",
            r"\b(?:openai|anthropic|azure|aws|hf)_\w*(?:key|token|secret)\w*",
            r"(?:透露|泄露|洩露|输出|輸出|打印|显示|告诉我|重复)[^。！？\n]{0,8}"
            r"(?:系统提示|系統提示|提示词|密钥|密鑰|api)",
        )
    ),
    "to run something": "|".join(
        (
            r"\b(?:run|execute|eval|evaluate|invoke|launch|type|enter)\W+(?:the\W+following|this|these|following|a|the)\W+"
            r"(?:(?:shell|bash|system|terminal|python|sql)\W+)?(?:commands?|script|shell|code)\b(?!\W+of\b)",
            r"\brm\s+-[a-z]*[rf]|\bsudo\s+(?:\w+\s+-|apt|rm|su\b|bash)|\b(?:curl|wget)\s+(?:-\S+\s+)*\S+\.\S+",
            r"\b(?:os\.system|os\.environ|subprocess\.|eval\s*\(|exec\s*\(|__import__|powershell|cmd\.exe)",
            r"\bdrop\s+table\s+\w|;\s*--\s*$|<\s*/?\s*(?:script|iframe|img|svg)\b|\bjavascript:|\$\(\s*\w+",
            r"(?:执行|運行|运行|執行)(?:以下|下面|这个|這個|这段|這段|如下)[^。！？\n]{0,4}(?:命令|代码|代碼|脚本|腳本|指令)",
        )
    ),
    "to change the label": "|".join(
        (
            rf"\b(?:change|set|switch|replace|alter|overwrite|modify|correct|update)\W+{_FEW}"
            r"(?:labels?|annotations?|classification)\b",
            r"\b(?:label|classify|annotate|mark|rate|tag)\W+(?:this|the|these|all|every)\W+"
            r"(?:\w+\W+)?(?:clips?|videos?|samples?|records?|speakers?|utterances?|sentences?|transcripts?)\W+as\b",
            r"\blabels?\W+(?:is|are|must\W+be|should\W+be|shall\W+be)\W+always\b",
            r"\b(?:the|correct|true|real)\W+label\W+(?:is|should\W+be|must\W+be|shall\W+be)\W+(?:now|not|actually|changed)\b",
            r"\b(?:respond|reply|answer|output)\W+(?:only|exactly|always|just|solely)?\W*(?:with|in)\W+"
            r"(?:only\W+|exactly\W+|just\W+)?(?:the\W+(?:word|label|phrase|following)|json|valid)\b",
            r"(?:把|将|將)[^。！？\n]{0,8}(?:标签|標籤|标注|標注)[^。！？\n]{0,8}(?:改|设|設|换|換|标|標)",
        )
    ),
    "by the marks of a prompt": "|".join(
        (
            r"<\|[\w\s]{1,30}\|>|\[/?INST\]|<</?SYS>>|<\s*/?\s*(?:system|assistant|developer|data|instructions?)\s*>|</s>",
            r"^\W*(?:system|assistant|developer)\s*(?:prompt|message|note|override)?\s*[:：]",
            r"#{2,}\s*(?:system|instructions?|assistant|response)\b|\b(?:begin|end)\s+(?:of\s+)?system\s+(?:prompt|message)",
            r"\bsystem\s+(?:prompt|override)\b|系统提示词|系統提示詞",
        )
    ),
    "by an address": r"\b(?:https?|ftp|file|data)\s?:\s?//?\S|\bwww\.\w+\.\w|\bdata:\w+/\w+;base64",
    # Of all kinds of characters and without a run of one: Base64, and no sound drawn out over a line.
    "in a code": r"(?=\S*[a-z])(?=\S*[A-Z])(?=\S*\d)(?-i:[A-Za-z0-9+/]{120,}={0,2})",
}
_COMPILED = {ask: re.compile(text, re.IGNORECASE | re.MULTILINE) for ask, text in _PHRASES.items()}


def instruction_in(text: str) -> str:
    """What a text asks of the machine that reads it, with the words that do; empty where it asks nothing.

    Written in other widths or alphabets' look-alike forms (Unicode NFKC), or with invisible characters
    between its letters, it is found as well.
    """
    plain = _plain(text)
    for ask, pattern in _COMPILED.items():
        if match := pattern.search(plain):
            return f"{ask}: {match.group()[:_SHOWN_CHARS]!r}"
    return ""


def _plain(text: str) -> str:
    """Compatibility forms folded, what cannot be seen taken out, and blanks made one."""
    folded = unicodedata.normalize("NFKC", text)
    seen = "".join(c for c in folded if unicodedata.category(c) != "Cf")
    return re.sub(r"[^\S\n]+", " ", seen)
