"""Writes template-cases.json.gz: template snippets with what transformers' Jinja environment renders them to, or that
it fails.

Needs a Python with transformers and jinja2; run it after a change to the table below:
    python3 test/unit/coordinator/tokenizer/jinja/make-template-cases.py
"""

import gzip
import json
import pathlib

from transformers.utils.chat_template_utils import _compile_jinja_template

CONTEXT = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi, who are you?"},
        {"role": "assistant", "content": "<think>\nhm\n</think>\n\nI am.\n", "tool_calls": []},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]},
    ],
    "tools": None,
    "documents": None,
    "add_generation_prompt": True,
    "bos_token": "<s>",
    "text": "  Hello, World! hello  ",
    "word": "straße",
    "empty": "",
    "emoji": "a😀b怎",
    "html": "<a href=\"x\">it's & more</a>",
    "n": 7,
    "zero": 0,
    "negative": -7,
    "big": 12345678901234567890,
    "f": 2.5,
    "whole": 3.0,
    "tiny": 1e-7,
    "huge": 1e22,
    "yes": True,
    "no": False,
    "nothing": None,
    "numbers": [3, 1, 2, 3],
    "names": ["b", "A", "c", "a"],
    "nested": [[1, 2], [3], []],
    "mapping": {"b": 1, "a": [1, "x", None, True, 1.0], "ä": {"k": "it's"}},
    "people": [
        {"name": "Ann", "age": 30, "on": True},
        {"name": "bob", "age": 25, "on": False},
        {"name": "Cy", "age": 30},
    ],
    "schema": {"type": "function", "function": {"name": "f", "parameters": {"x": {"type": ["string", "null"]}, "é": "\u2028\n\t\"\\"}}},
}


def expressions(text):
    return ["{{ " + line.strip() + " }}" for line in text.strip().splitlines()]


TEMPLATES = [
    # Printing and literals.
    *expressions(
        r"""
        n
        f
        whole
        tiny
        huge
        big
        yes
        nothing
        none
        None
        true
        False
        missing
        missing.x
        missing['x']
        text.missing
        mapping.missing
        numbers
        nested
        mapping
        schema
        people
        [1, 'a', "it's", 'say "it"', 'both \' and "', none, true, 1.5]
        (1,)
        (1, 2)
        ()
        {}
        {'a': 1, 2: 'b', none: [true]}
        'a\nb\t\\ \x41 \u00e9'
        "tab\tq\"q"
        'a' 'b' "c"
        1_000
        0x1f + 0b11 + 0o17
        1e3
        1.5e-5
        1e16
        123456789.125
        ['\n', '\t', '\x00', 'é', '\u200b', '\ud7ff', '😀']
        range(3)
        range(3)|list
        """
    ),
    # Arithmetic and logic.
    *expressions(
        r"""
        1 + 2 * 3 ** 2
        2 ** 3 ** 2
        2 ** -1
        -2 ** 2
        7 / 2
        6 / 2
        7 // 2
        -7 // 2
        -7 % 3
        7 % -3
        7.5 // 2
        7.5 % 2
        -7.5 % 2
        n + f
        n - 1
        -n
        +n
        - - n
        1 / 0
        1 // 0
        'a' + 'b'
        'a' + 1
        1 + 'a'
        'ab' * 3
        3 * 'ab'
        [1] * 2
        [1] + [2]
        (1,) + (2,)
        'a' ~ 1 ~ none ~ true ~ 1.0 ~ [1]
        yes + 1
        yes * 3
        1 == 1.0
        1 == true
        '1' == 1
        [1, 2] == [1, 2]
        (1, 2) == [1, 2]
        {'a': 1} == {'a': 1.0}
        none == none
        1 < 2 < 3
        1 < 3 < 2
        1 < 2 == 2
        'a' < 'b'
        [1, 2] < [1, 3]
        1 < 'a'
        none < 1
        not yes
        not empty
        not none and 1
        0 or 'x'
        'a' and 'b'
        empty or nothing or 'last'
        1 if yes
        1 if no
        1 if no else 2
        1 if no else 2 if no else 3
        'Hello' in text
        'x' not in text
        1 in numbers
        not 1 in numbers
        'a' in mapping
        '' in 'a'
        none in [none]
        1 in 'a'
        1 in 5
        missing in [1]
        missing == missing
        missing + 1
        missing ~ 'x'
        missing or 'x'
        missing is defined or 'x'
        yes is true and no is false
        big + 1
        big * big
        2 ** 70
        big // 7
        big % 1000
        9007199254740993
        0.1 + 0.2
        1e308 * 10
        -(1e308 * 10)
        1.0 * 3
        10 ** 20
        """
    ),
    # Subscripts, slices, attributes.
    *expressions(
        r"""
        messages[0].role
        n[1:]
        nothing[1:]
        missing|int
        missing|float
        missing.x|int
        '%s' % missing
        '%s-%s' % [1, 2]
        n|indent
        numbers|truncate(9)
        n|truncate
        missing|wordwrap
        (1, 2).copy()
        missing[1:]
        mapping[1:]
        0|map(attribute='x')|list
        none|select|list
        '' % [1]
        'a' % 1
        messages[0]['role']
        messages[-1]['role']
        messages[99]
        messages[99].role
        messages[1:][0].content
        messages[:-1]|length
        messages[::-1][0].role
        numbers[::2]
        numbers[-2:]
        numbers[5:]
        numbers[-9:2]
        text[2:7]
        text[::-1]
        emoji[1]
        emoji[-1]
        emoji[::-1]
        emoji|length
        (1, 2, 3)[1:]
        mapping['a'][1]
        mapping.a.1
        mapping.get('zz', 'dflt')
        mapping.get('zz')
        mapping.keys()
        mapping.values()
        mapping.items()
        mapping.keys()|list
        mapping.items()|list
        mapping|list
        mapping|length
        numbers['a']
        numbers[1.0]
        text['x']
        text['upper']()
        n.real
        {'items': 1}.items is callable
        {'items': 1}['items']
        {'keys': 5}.keys is callable
        {'a': none}.a is none
        {'a': none}.get('a', 1)
        {'a': none}['a'] is none
        [none]|first
        [none, 1][0]
        [1, none]|last
        (none, 1)[0]
        {'a': none}|dictsort
        namespace(a=none).a is none
        (range(10))[::-3]
        (range(10))[7:2]|list
        people[0]['na' ~ 'me']
        people[0][none]
        none.x
        none['x']
        messages.0.role
        (range(10))[2:5]
        range(10)[-1]
        """
    ),
    # Methods of strings.
    *expressions(
        r"""
        text.strip()
        text.strip(' H')
        text.lstrip()
        text.rstrip()
        text.rstrip('lo ')
        text.upper()
        text.lower()
        word.upper()
        word.capitalize()
        'hELLO wORLD'.capitalize()
        "they're bill's friends".title()
        'aBc'.swapcase()
        word.casefold()
        text.find('World')
        text.find('zzz')
        text.find('l', 6)
        text.find('l', 0, 3)
        text.rfind('l')
        text.index('W')
        text.index('zzz')
        text.count('l')
        text.count('')
        text.count('l', 7)
        text.replace('l', 'L')
        text.replace('l', 'L', 2)
        'ab'.replace('', '-')
        text.split()
        text.split(',')
        text.split('l', 1)
        text.split(none, 1)
        'a,b,,c'.split(',')
        'a,b,,c'.rsplit(',', 1)
        ' a  b '.rsplit(none, 1)
        ''.split()
        ''.split(',')
        'abc'.split('')
        'a\nb\r\nc\n'.splitlines()
        'a\nb'.splitlines(true)
        'a</think>b</think>c'.split('</think>')[-1]
        'a-b-c'.partition('-')
        'a-b-c'.rpartition('-')
        'abc'.partition('x')
        'abc'.rpartition('x')
        ','.join(['a', 'b'])
        ','.join('abc')
        ','.join([1, 2])
        text.startswith('  H')
        text.startswith(('x', '  '))
        text.startswith('W', 9)
        text.endswith('  ')
        text.endswith(('x', 'y'))
        'abc'.removeprefix('a')
        'abc'.removesuffix('bc')
        'abc'.removesuffix('')
        'abc'.isalpha()
        'ab1'.isalnum()
        '123'.isdigit()
        '12.3'.isdigit()
        '٣'.isdigit()
        '½'.isnumeric()
        '12'.isdecimal()
        ' \t'.isspace()
        ''.isspace()
        'abc'.islower()
        'A1'.isupper()
        'Ab Cd'.istitle()
        'a_b'.isidentifier()
        '1a'.isidentifier()
        'é'.isascii()
        'x'.isprintable()
        '7'.zfill(3)
        '-7'.zfill(4)
        'a'.center(5, '*')
        'ab'.center(5)
        'a'.ljust(3, '.') ~ '|'
        'a'.rjust(3) ~ '|'
        'a\tb'.expandtabs(4)
        '{} {}'.format(1, 'b')
        '{0} {x!r} {y:>4}'.format(1, x='q', y=2)
        '{:.2f} {:05d} {:,}'.format(3.14159, 42, 1234567)
        '{{}}'.format()
        '{0[a]} {1[0]}'.format({'a': 1}, [2])
        '{.role}'.format(messages[0])
        '%s and %s' % ('a', 1)
        '%s' % 'x'
        '%s' % none
        '%s' % [1, 'a']
        '%d %5.2f %x %o %e %g' % (7, 2.5, 255, 8, 1234.5, 0.00001)
        '%-5s|%5s|%05d|%+d' % ('a', 'b', 42, 5)
        '%(a)s-%(b)d' % {'a': 'x', 'b': 3}
        '100%% %r' % 'q'
        '%s' % (1, 2)
        '%s %s' % 1
        '%d' % 'a'
        '%c%c' % ('x', 65)
        '%i' % 3.9
        'x'.encode('utf-8')
        'abc'.translate({97: 'z'})
        text.foo()
        text.strip(1)
        'a'.__class__
        ''.__class__.__mro__
        """
    ),
    # Methods of lists, dictionaries and numbers; what the sandbox refuses.
    *expressions(
        r"""
        numbers.index(2)
        numbers.index(99)
        numbers.count(3)
        numbers.copy()
        numbers.append(1)
        numbers.pop()
        numbers.sort()
        numbers.extend([1])
        mapping.pop('a')
        mapping.update({'x': 1})
        mapping.copy()
        mapping.setdefault('q', 1)
        mapping.clear()
        dict(a=1, b='x')
        dict({'a': 1}, b=2)
        dict([('a', 1)])
        dict.fromkeys(['a', 'b'], 0)
        namespace(a=1).a
        namespace(a=1).b
        namespace(_a=1)
        (1.5).is_integer()
        (3).bit_length()
        messages.__class__
        raise_exception('boom')
        strftime_now('%%')
        cycler('a', 'b').next()
        missing()
        text()
        n.x.y
        numbers.attr
        (1, 2, 1).count(1)
        range(5).index(3)
        range(2, 8, 3)|list
        range(8, 2, -3)|list
        range(0)|list
        range(1, 2, 0)
        range(1.5)
        """
    ),
    # Filters.
    *expressions(
        r"""
        text|trim
        text|trim|length
        text|trim('! ')
        text|upper|lower
        text|title
        "they're bill-joe's (x)"|title
        text|trim|capitalize
        word|upper
        text|replace('l', 'L')
        text|replace('l', 'L', 1)
        numbers|sort
        numbers|sort(reverse=true)
        names|sort
        names|sort(case_sensitive=true)
        people|sort(attribute='age')|map(attribute='name')|list
        people|sort(attribute='age,name', reverse=true)|map(attribute='name')|join(' ')
        numbers|unique|list
        ['a', 'A', 'b']|unique|list
        ['a', 'A', 'b']|unique(case_sensitive=true)|list
        numbers|min
        numbers|max
        []|min
        names|min
        people|max(attribute='age')
        numbers|sum
        people|sum(attribute='age')
        people|sum('age', 5)
        nested|sum(start=[])
        numbers|first
        numbers|last
        []|first
        []|last
        empty|first
        text|first
        numbers|reverse|list
        'abc'|reverse
        numbers|join
        numbers|join(', ')
        people|join('-', attribute='name')
        people|map(attribute='name')|list
        people|map(attribute='zip')|list
        people|map(attribute='zip', default='?')|list
        names|map('upper')|list
        names|map('replace', 'a', 'z')|join
        names|map('center', 3)|join('|')
        names|map('nosuch')|list
        people|selectattr('on')|list|length
        people|selectattr('on', 'defined')|map(attribute='name')|list
        people|selectattr('age', 'equalto', 30)|map(attribute='name')|list
        people|selectattr('age', '>', 25)|list|length
        people|rejectattr('age', 'eq', 30)|map(attribute='name')|list
        people|rejectattr('on')|map(attribute='name')|list
        numbers|select('odd')|list
        numbers|reject('odd')|list
        numbers|select('divisibleby', 3)|list
        [0, 1, '', 'a']|select|list
        messages|selectattr('role', 'in', ['user'])|list|length
        people|groupby('age')
        people|groupby('age')|map('first')|list
        people|groupby('zip', default='none')|list|length
        people|groupby(attribute='age')|map(attribute='list')|map('length')|list
        mapping|dictsort
        {'b': 2, 'A': 1, 'c': 0}|dictsort
        {'b': 2, 'A': 1, 'c': 0}|dictsort(true)
        {'b': 2, 'A': 1, 'c': 0}|dictsort(by='value')
        {'b': 2, 'A': 1}|dictsort(reverse=true)
        mapping|items|list
        missing|items|list
        numbers|batch(3)|list
        numbers|batch(3, 'x')|list
        range(7)|slice(3)|list
        range(7)|slice(3, 'x')|list
        [1, 2]|list
        'abc'|list
        mapping|list
        5|list
        numbers|length
        numbers|count
        n|length
        missing|length
        missing|default('d')
        missing|d('d')
        empty|default('d')
        empty|default('d', true)
        none|default('d')
        missing.x|default('d')
        n|string ~ 'x'
        numbers|string
        '42'|int
        '42.7'|int
        'x'|int
        'x'|int(5)
        '0x1A'|int(0, 16)
        'ff'|int(base=16)
        2.9|int
        -2.9|int
        none|int
        '2.5'|float
        'x'|float
        'x'|float(1)
        3|float
        'inf'|float
        2.5|round
        3.5|round
        -2.5|round
        2.345|round(2)
        2.1|round(method='ceil')
        2.9|round(0, 'floor')
        1234|round(-2)
        7|round
        -5|abs
        -5.5|abs
        'a'|abs
        'a b'|wordcount
        'a b, c-d'|wordcount
        html|e
        html|escape
        html|safe
        html|forceescape
        html|striptags
        '<b>a</b>  b <!-- c -->d'|striptags
        html|urlencode
        {'a': 'b c', 'd': 'é/'}|urlencode
        'é /?&'|urlencode
        'abc'|center(9) ~ '|'
        'a\nb\n\nc'|indent
        'a\nb\n\nc'|indent(2, true)
        'a\nb\n\nc'|indent(2, blank=true)
        'a\nb'|indent('> ')
        'a\nb'|indent(width=1, first=true)
        'the quick brown fox jumps'|truncate(12)
        'the quick brown fox jumps'|truncate(12, true)
        'the quick brown fox jumps'|truncate(12, false, '!', 0)
        'short'|truncate(5)
        'the quick brown fox jumps over'|wordwrap(10)
        'abcdefghijklmnop qr'|wordwrap(5)
        'abcdefghijklmnop qr'|wordwrap(5, false)
        'a b\nc d'|wordwrap(3, wrapstring='|')
        '%s-%s'|format(1, 'x')
        '%(a)s'|format(a=1)
        1000|filesizeformat
        1500000|filesizeformat
        1|filesizeformat
        1048576|filesizeformat(true)
        mapping|tojson
        mapping|tojson(indent=2)
        schema|tojson
        schema|tojson(indent=4)
        schema|tojson(ensure_ascii=true)
        mapping|tojson(sort_keys=true)
        mapping|tojson(separators=(',', ':'))
        html|tojson
        [1.0, 1e22, 1e-7, 123456789.125, true, none]|tojson
        emoji|tojson
        emoji|tojson(ensure_ascii=true)
        []|tojson(indent=2)
        {}|tojson(indent=2)
        [[], {}]|tojson(indent=2)
        {1: 'a', none: 'b', true: 'c', 2.5: 'd'}|tojson
        missing|tojson
        (1, 2)|tojson
        '\x7f\u2028\b\f'|tojson
        range(3)|tojson
        numbers|pprint
        mapping|pprint
        'x'|pprint
        mapping|xmlattr
        {'class': 'a', 'id': none, 'data-x': 1}|xmlattr
        people|attr('x')
        text|attr('upper') is callable
        messages[0]|attr('role')
        numbers|nosuchfilter
        numbers|map('string')|map('length')|sum
        'a' | upper ~ 'b' | upper
        -5|abs + 1
        (1 + 2)|string|length
        not numbers|length == 4
        numbers|random in numbers
        'http://example.com x'|urlize
        """
    ),
    # Tests.
    *expressions(
        r"""
        n is defined
        missing is defined
        missing is undefined
        missing is not defined
        n is number
        yes is number
        f is float
        n is integer
        yes is integer
        yes is boolean
        1 is boolean
        text is string
        numbers is sequence
        text is sequence
        mapping is sequence
        n is sequence
        mapping is mapping
        numbers is iterable
        n is iterable
        text is iterable
        range is callable
        text is callable
        none is none
        nothing is not none
        n is odd
        n is even
        n is divisibleby 7
        n is divisibleby(3)
        n is eq 7
        n is equalto(7)
        n is ne 7
        n is lt 8
        n is greaterthan 8
        n is ge 7
        n == 7 is true
        'abc' is lower
        'ABC' is upper
        1 is in [1]
        'x' is not in 'abc'
        yes is sameas true
        1 is sameas true
        html is escaped
        'upper' is filter
        'nosuch' is filter
        'defined' is test
        yes is true
        1 is true
        no is false
        n is nosuchtest
        content is string
        missing.content is string
        """
    ),
    # Statements, white space, comments, raw text.
    "a\n{% if yes %}\n  b\n{% endif %}\nc\n",
    "a\n  {% if yes %}  \n  b\n  {% endif %}x\nc\n\n",
    "a  {%- if yes -%}  b  {%- endif -%}  c",
    "a  {%+ if yes %}  b  {%+ endif %}  c",
    "  {%+ if yes +%}\nb\n  {%+ endif -%}  c",
    "a {{- ' b ' -}} c",
    "  {{ 1 }}\n  {{ 2 }}\n",
    "{# comment #}\nx{# {{ nothing }} #} y {#- trimmed -#} z",
    "  {# indented #}\nx\n  {#- c +#}\ny",
    "{% raw %}{{ not }} {% if %}{% endraw %}",
    "a {%- raw -%}  {{ x }}  {%- endraw -%} b",
    "{% raw %}\n  {# kept #}\n{% endraw %}\nx",
    "{% raw %}{% raw %}{% endraw %}",
    "{{ '{{ }}' }}{{ '{% %}' }}{{ \"{# #}\" }}",
    "{{ '}}' ~ \"%}\" }}",
    "{{ {'a': {'b': 1}}['a']['b'] }}",
    "{{ {'a': {'b': 1}} }}",
    "line\r\nnext\r\n{% if yes %}\r\nx\r\n{% endif %}\r\n",
    "trailing\n",
    "trailing\n\n",
    "{% if no %}a{% elif n > 5 %}b{% else %}c{% endif %}",
    "{% if missing %}a{% else %}b{% endif %}",
    "{% if messages and messages[0].role == 'system' %}s{% endif %}",
    "{% for x in numbers %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }};{% endfor %}",
    "{% for x in numbers %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {% endfor %}",
    "{% for x in numbers %}{{ loop.cycle('a', 'b') }}{{ loop.changed(x) }}{{ loop.depth }}{{ loop.depth0 }} {% endfor %}",
    "{% for x in [1, 1, 2] %}{{ loop.changed(x) }} {% endfor %}",
    "{% for x in [] %}a{% else %}empty{% endfor %}",
    "{% for x in numbers if x > 1 %}{{ loop.index }}:{{ x }}/{{ loop.length }} {% else %}none{% endfor %}",
    "{% for x in numbers if x > 9 %}{{ x }}{% else %}none{% endfor %}",
    "{% for x in numbers %}{% if x == 2 %}{% continue %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in numbers %}a{% if x == 1 %}b{% break %}{% endif %}c{% endfor %}d",
    "{% for x in numbers %}{% for y in numbers %}{% if y == 1 %}{% break %}{% endif %}{{ x }}{{ y }}{% endfor %}|{% endfor %}",
    "{% for x in numbers %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% else %}never{% endfor %}",
    "{% for k, v in mapping.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k in mapping %}{{ k }}{% endfor %}",
    "{% for k, v in mapping|items %}{{ k }}{% endfor %}",
    "{% for k, v in mapping|dictsort %}{{ k }}{% endfor %}",
    "{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for a, b in [(1, 2, 3)] %}{{ a }}{% endfor %}",
    "{% for c in 'añ😀' %}[{{ c }}]{% endfor %}",
    "{% for x in range(3) %}{{ x }}{% endfor %}{{ x }}",
    "{% for x in n %}{{ x }}{% endfor %}",
    "{% for x in missing %}{{ x }}{% else %}e{% endfor %}",
    "{% for x in none %}{{ x }}{% endfor %}",
    "{% for x in nested recursive %}[{{ loop(x) if x is iterable and x is not string else x }}]{% endfor %}",
    "{% for x in nested recursive %}{% if x is iterable %}{{ loop.depth }}({{ loop(x) }}){% else %}{{ x }}@{{ loop.depth0 }}{% endif %}{% endfor %}",
    "{% for m in messages %}{% if loop.first %}{{ bos_token }}{% endif %}{{ m.role }}{% if not loop.last %},{% endif %}{% endfor %}",
    "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}{{ p.text or '<image>' }}{% endfor %}{% endif %}{% endfor %}",
    "{% for m in messages[::-1] %}{% set index = (messages|length - 1) - loop.index0 %}{{ index }}{{ m.role }}{% endfor %}",
    "{% set x = 1 %}{{ x }}{% for i in [1] %}{% set x = 2 %}{{ x }}{% endfor %}{{ x }}",
    "{% set x = 1 %}{% if yes %}{% set x = 2 %}{% endif %}{{ x }}",
    "{% for i in numbers %}{{ x }}{% set x = i %}{{ x }}{% endfor %}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}",
    "{% set (a, b) = (1, 2) %}{{ a }}{{ b }}",
    "{% set a, b = [1, 2, 3] %}{{ a }}",
    "{% set x = 1, 2 %}{{ x }}",
    "{% set x %}a{{ n }}b{% endset %}[{{ x }}]",
    "{% set x | upper %}ab{{ n }}{% endset %}{{ x }}",
    "{% set x | replace('a', 'z') | trim %} ab {% endset %}[{{ x }}]",
    "{% set ns = namespace(found=false, n=0) %}{% for x in numbers %}{% if x == 1 %}{% set ns.found = true %}{% endif %}{% set ns.n = ns.n + x %}{% endfor %}{{ ns.found }}{{ ns.n }}",
    "{% set ns = namespace() %}{% set ns.x = [1] %}{% set ns.x = ns.x + [2] %}{{ ns.x }}",
    "{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a }}{{ ns['b'] }}",
    "{% set ns = namespace(t='') %}{% set ns.t %}block{% endset %}{{ ns.t }}",
    "{% set messages.x = 1 %}",
    "{% set mapping.x = 1 %}",
    "{% set loop_messages = messages[1:] if messages[0].role == 'system' else messages %}{{ loop_messages|length }}",
    "{% macro m(a, b=2, c='z') %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }}{{ m(1, c=3) }}{{ m(b=5, a=6) }}{{ m() }}",
    "{% macro m(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, 3, x=4) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(b=2) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m.name }}{{ m.arguments }}{{ m.caller }}",
    "{% macro outer(x) %}[{{ caller(x) }}]{% endmacro %}{% call(y) outer(5) %}y={{ y }}{% endcall %}",
    "{% macro outer() %}[{{ caller() }}]{% endmacro %}{% call outer() %}body{% endcall %}",
    "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}",
    "{% macro m() %}{{ x }}{% endmacro %}{% set x = 1 %}{{ m() }}",
    "{% set x = 1 %}{% macro m() %}{{ x }}{% endmacro %}{% set x = 2 %}{{ m() }}",
    "{% for i in [1] %}{% set y = 3 %}{% macro m() %}{{ y }}{{ i }}{% endmacro %}{{ m() }}{% endfor %}{{ m is defined }}",
    "{% macro m(items) %}\n  {%- for i in items -%}\n    {{ i }},\n  {%- endfor -%}\n{% endmacro %}[{{ m([1, 2])|trim }}]",
    "{% macro m() %}<b>{% endmacro %}{{ m() }}{{ m()|length }}{{ m() is string }}",
    "{% filter upper %}a{{ text|trim }}b{% endfilter %}",
    "{% filter replace('a', 'z')|upper %}banana{% endfilter %}",
    "{% filter indent(2) %}\na\nb\n{% endfilter %}",
    "{% with a = 1, b = n %}{{ a }}{{ b }}{% endwith %}{{ a }}",
    "{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q }}",
    "{% block b %}in{{ n }}{% endblock %}after",
    "{% block b %}in{% endblock b %}{{ self.b() }}",
    "{% block b scoped %}x{% endblock %}",
    "{% do numbers %}",
    "{% autoescape true %}{{ html }}{% endautoescape %}",
    "{% autoescape false %}{{ html }}{% endautoescape %}",
    "{% generation %}a{{ n }}{% endgeneration %}b",
    "{%- for m in messages %}{% generation %}{{ m.role }}{% endgeneration %}\n{% endfor %}",
    "{% include 'x' %}",
    "{% include 'x' ignore missing %}ok",
    "{% import 'x' as y %}",
    "{% extends 'x' %}",
    "{% from 'x' import y %}",
    "{% debug %}",
    "{% trans %}x{% endtrans %}",
    "{% for x in numbers %}",
    "{% endif %}",
    "{{ 1",
    "{{ 1 + }}",
    "{{ a b }}",
    "{% if %}x{% endif %}",
    "{% set x %}",
    "{% nosuch %}",
    "{{ 'unterminated }}",
    "{{ 1 }} }} %} #}",
    "{# unterminated",
    "{% raw %}unterminated",
    "{% break %}",
    "{{ loop }}",
    "{% macro m(a, b=1) %}{{ a }}{{ b }}{% endmacro %}{{ m(none, none) }}{{ m(b=none) }}",
    "{% for g in people|groupby('age') %}{{ g.grouper }}{{ g.list|length }}{% for k, v in [g] %}{{ k }}{% endfor %}{% endfor %}",
    "{% for x in [none, 1] %}{{ x }}{{ loop.previtem }}{{ loop.nextitem }}{% endfor %}",
    "{% set x = none %}{{ x }}{{ x is none }}",
    "{{ 'a'.__class__|default('hidden') }}",
    "{{ ''.__class__.__mro__ }}",
    "{{ messages.__class__() }}",
    "{{ m.constructor }}{{ messages.constructor }}{{ messages[0].constructor }}{{ text.constructor }}{{ text.__proto__ }}",
    "{% macro m() %}{% endmacro %}{{ m.constructor }}{{ m.toString }}{{ loop.constructor }}",
    "{{ messages | map(attribute='content') | select('string') | join('|') }}",
    "{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | first }}",
    "{{ ('a' if yes else 'b') ~ 'c' }}",
    "{{ 'a' if yes else 'b' ~ 'c' }}",
    "{{ not yes == no }}",
    "{{ 1 if yes else }}",
    "{{ messages[0].content if messages[0].role == 'system' else 'default' }}",
    "{%- if messages[0]['role'] == 'system' -%}\n    {%- set system_message = messages[0]['content'] | trim + '\n' -%}\n    {%- set messages = messages[1:] -%}\n{%- else -%}\n    {%- set system_message = '' -%}\n{%- endif -%}\n{{- bos_token + system_message -}}\n{%- for message in messages -%}\n    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}\n        {{ raise_exception('roles must alternate') }}\n    {%- endif -%}\n    {{- '[' + message['role'] + ']' -}}\n{%- endfor -%}",
    "{%- for message in messages %}\n    {{- '<|' + message.role + '|>\\n' }}\n    {%- if message.content is string %}\n        {{- message.content.split('</think>')[-1].lstrip('\\n') }}\n    {%- endif %}\n    {%- if loop.last and add_generation_prompt %}\n        {{- '<think>\\n' }}\n    {%- endif %}\n{%- endfor %}",
    "{% set s = '</think>' %}{% for m in messages if m.content is string and s in m.content %}{{ m.content.split(s)[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') }}|{{ (m.content.split(s)|last).lstrip('\\n') }}{% endfor %}",
    "{{ tools is none }}{{ tools is not none and tools|length > 0 }}{{ (tools or [])|length }}",
    "{% set date_string = strftime_now('%Y') if strftime_now is defined else 'x' %}{{ date_string|length }}",
    "{{ joiner is defined }}{% set comma = joiner(', ') %}{% for x in numbers %}{{ comma() }}{{ x }}{% endfor %}",
    "{% set c = cycler('odd', 'even') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{% set _ = c.reset() %}{{ c.next() }}",
    "{% set x = numbers.append(1) %}",
    "{% set _ = mapping.update({'x': 1}) %}",
    "{%- macro render(schema, depth=0) -%}\n{%- if schema is mapping -%}\n{%- for key, value in schema|dictsort -%}\n{{ '  ' * depth }}{{ key }}:{{ render(value, depth + 1) }}\n{% endfor -%}\n{%- elif schema is iterable and schema is not string -%}\n[{% for s in schema %}{{ render(s) }}{{ ', ' if not loop.last }}{% endfor %}]\n{%- else -%}\n{{ schema|tojson }}\n{%- endif -%}\n{%- endmacro -%}\n{{ render(schema) }}",
    "{{ schema['function'] | tojson(indent=4) }}\n{{ {'name': 'x', 'arguments': {'a': [1, 2, {'b': none}]}} | tojson }}",
    "{% set content = message.content if message is defined else 'none' %}{{ content }}",
    "{{ [1, 2, 3] | map('string') | join(', ') }}{{ {'a': 1}.items() | list }}",
    "{% for i in range(1, 4) %}{{ '%02d' % i }}{{ ',' if not loop.last else '' }}{% endfor %}",
    "{{ (messages | length) - 1 }}{{ messages|length-1 }}",
    "{{ 'x' * (4 - 'ab'|length) }}",
    "{{ text is string and text.strip()[0] == 'H' }}",
    "{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}\n{%- for message in messages[::-1] %}\n    {%- set index = (messages|length - 1) - loop.index0 %}\n    {%- if ns.multi_step_tool and message.role == \"user\" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}\n        {%- set ns.multi_step_tool = false %}\n        {%- set ns.last_query_index = index %}\n    {%- endif %}\n{%- endfor %}\n{{ ns.last_query_index }}",
]


def render(template):
    try:
        return {"output": _compile_jinja_template(template).render(**CONTEXT)}
    except Exception as error:  # Whatever it is: the template is to fail.
        return {"error": type(error).__name__}


def tagged(value):
    """JSON has one kind of number: floats are written as {"$float": text}."""
    if isinstance(value, float):
        return {"$float": repr(value)}
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53:
        return {"$int": str(value)}
    if isinstance(value, list):
        return [tagged(item) for item in value]
    if isinstance(value, dict):
        return {key: tagged(item) for key, item in value.items()}
    return value


def main():
    cases = [{"template": template, **render(template)} for template in TEMPLATES]
    text = json.dumps({"context": tagged(CONTEXT), "cases": cases}, ensure_ascii=False, separators=(",", ":"))
    path = pathlib.Path(__file__).with_name("template-cases.json.gz")
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
    failed = sum("error" in case for case in cases)
    print(f"{len(cases)} cases, {failed} that fail, {path.stat().st_size} bytes")


main()
