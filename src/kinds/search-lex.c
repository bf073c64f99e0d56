#include "search-internal.h"
#include "base/cleanup.h"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_ident_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static char at(const Lexer *lx, size_t pos)
{
    return pos < lx->text.len ? lx->text.ptr[pos] : '\0';
}

static size_t skip_digits(const Lexer *lx, size_t pos)
{
    while (is_digit(at(lx, pos)))
        pos++;
    return pos;
}

/* Sets the token from its first byte to `end` and moves behind it. */
static void take(Lexer *lx, TokenType type, size_t end)
{
    lx->tok = (Token){type, str_slice(lx->text, lx->pos, end), false};
    lx->pos = end;
}

static void lex_number(Lexer *lx)
{
    size_t end = skip_digits(lx, lx->pos);
    if (at(lx, end) == '.' && is_digit(at(lx, end + 1)))
        end = skip_digits(lx, end + 1);
    if (at(lx, end) == 'e' || at(lx, end) == 'E') {
        size_t exp = end + 1;
        if (at(lx, exp) == '+' || at(lx, exp) == '-')
            exp++;
        if (is_digit(at(lx, exp)))
            end = skip_digits(lx, exp);
    }
    take(lx, T_NUMBER, end);
}

static void lex_word(Lexer *lx)
{
    static const struct {
        Str word;
        TokenType type;
    } keywords[] = {
        {{"and", 3}, T_AND},   {{"or", 2}, T_OR},       {{"not", 3}, T_NOT},
        {{"in", 2}, T_IN},     {{"is", 2}, T_IS},       {{"between", 7}, T_BETWEEN},
        {{"like", 4}, T_LIKE}, {{"ilike", 5}, T_ILIKE}, {{"null", 4}, T_NULL},
    };
    size_t end = lx->pos;
    while (is_ident_start(at(lx, end)) || is_digit(at(lx, end)))
        end++;
    take(lx, T_IDENT, end);
    for (size_t i = 0; i < ARRAY_LEN(keywords); i++)
        if (str_ieq(lx->tok.text, keywords[i].word))
            lx->tok.type = keywords[i].type;
}

/* 'text' with '' for a quote: the token keeps the doubled quotes. */
static void lex_string(Lexer *lx)
{
    size_t start = lx->pos + 1, end = start;
    while (end < lx->text.len && (at(lx, end) != '\'' || at(lx, end + 1) == '\''))
        end += at(lx, end) == '\'' ? 2 : 1;
    if (end >= lx->text.len) {
        take(lx, T_BAD, lx->text.len);
        return;
    }
    take(lx, T_STRING, end + 1);
    lx->tok.text = str_slice(lx->text, start, end);
}

static void lex_quoted_ident(Lexer *lx, char close)
{
    ptrdiff_t len = str_find_byte(str_slice(lx->text, lx->pos + 1, lx->text.len), close);
    if (len <= 0) {
        take(lx, T_BAD, lx->text.len);
        return;
    }
    Str name = str_slice(lx->text, lx->pos + 1, lx->pos + 1 + (size_t)len);
    take(lx, T_IDENT, lx->pos + (size_t)len + 2);
    lx->tok.text = name;
    lx->tok.quoted = true;
}

static bool lex_symbol(Lexer *lx)
{
    /* Longer symbols first. */
    static const struct {
        Str symbol;
        TokenType type;
    } symbols[] = {
        {{"!=", 2}, T_NE},    {{"<>", 2}, T_NE},       {{"<=", 2}, T_LE},    {{">=", 2}, T_GE},
        {{"~=", 2}, T_MATCH}, {{"~!", 2}, T_NO_MATCH}, {{"=", 1}, T_EQ},     {{"<", 1}, T_LT},
        {{">", 1}, T_GT},     {{"(", 1}, T_LPAREN},    {{")", 1}, T_RPAREN}, {{",", 1}, T_COMMA},
        {{".", 1}, T_DOT},    {{"+", 1}, T_PLUS},      {{"-", 1}, T_MINUS},  {{"*", 1}, T_STAR},
        {{"/", 1}, T_SLASH},  {{"%", 1}, T_PERCENT},
    };
    Str rest = str_slice(lx->text, lx->pos, lx->text.len);
    for (size_t i = 0; i < ARRAY_LEN(symbols); i++) {
        if (!str_starts(rest, symbols[i].symbol))
            continue;
        take(lx, symbols[i].type, lx->pos + symbols[i].symbol.len);
        return true;
    }
    return false;
}

void lexer_next(Lexer *lx)
{
    while (lx->pos < lx->text.len && strchr(" \t\r\n", at(lx, lx->pos)) && at(lx, lx->pos))
        lx->pos++;
    char c = at(lx, lx->pos);
    if (lx->pos >= lx->text.len)
        take(lx, T_END, lx->text.len);
    else if (is_digit(c))
        lex_number(lx);
    else if (is_ident_start(c))
        lex_word(lx);
    else if (c == '\'')
        lex_string(lx);
    else if (c == '"' || c == '`')
        lex_quoted_ident(lx, c);
    else if (c == '[')
        lex_quoted_ident(lx, ']');
    else if (!lex_symbol(lx))
        take(lx, T_BAD, lx->text.len);
}

void lexer_init(Lexer *lx, Str text)
{
    *lx = (Lexer){.text = text};
    lexer_next(lx);
}
