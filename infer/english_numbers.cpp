#include "infer/english_numbers.h"

#include <array>
#include <optional>
#include <string_view>
#include <unordered_map>

#include "infer/unicode.h"

namespace wavllm {

namespace {

using namespace unicode;

enum class Kind {
    none,
    zero,
    one,
    one_suffixed,
    ten,
    ten_suffixed,
    power,
    power_suffixed,
    sign,
    currency,
    percent,
    special
};

struct NumberWord {
    Kind kind = Kind::none;
    int value = 0;       ///< of ones and tens; of powers the number of zeros
    std::string symbol;  ///< suffix of the suffixed kinds, sign or currency symbol
};

using Lexicon = std::unordered_map<std::string, NumberWord>;

Lexicon make_lexicon() {
    Lexicon lexicon;
    for (const char* word : {"o", "oh", "zero"}) lexicon[word] = {Kind::zero, 0, ""};
    constexpr std::array<std::string_view, 19> ones = {
        "one",    "two",    "three",    "four",     "five",    "six",     "seven",     "eight",    "nine",    "ten",
        "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"};
    for (size_t i = 0; i < ones.size(); ++i) {
        const std::string word(ones[i]);
        const int value = static_cast<int>(i) + 1;
        lexicon[word] = {Kind::one, value, ""};
        lexicon[word == "six" ? "sixes" : word + "s"] = {Kind::one_suffixed, value, "s"};
        if (value > 3 && value != 5 && value != 12)
            lexicon[word + (word.back() == 't' ? "h" : "th")] = {Kind::one_suffixed, value, "th"};
    }
    lexicon["zeroth"] = {Kind::one_suffixed, 0, "th"};
    lexicon["first"] = {Kind::one_suffixed, 1, "st"};
    lexicon["second"] = {Kind::one_suffixed, 2, "nd"};
    lexicon["third"] = {Kind::one_suffixed, 3, "rd"};
    lexicon["fifth"] = {Kind::one_suffixed, 5, "th"};
    lexicon["twelfth"] = {Kind::one_suffixed, 12, "th"};
    int tens = 10;
    for (const char* stem : {"twent", "thirt", "fort", "fift", "sixt", "sevent", "eight", "ninet"}) {
        tens += 10;
        lexicon[std::string(stem) + "y"] = {Kind::ten, tens, ""};
        lexicon[std::string(stem) + "ies"] = {Kind::ten_suffixed, tens, "s"};
        lexicon[std::string(stem) + "ieth"] = {Kind::ten_suffixed, tens, "th"};
    }
    const auto power = [&](const std::string& word, int zeros) {
        lexicon[word] = {Kind::power, zeros, ""};
        lexicon[word + "s"] = {Kind::power_suffixed, zeros, "s"};
        lexicon[word + "th"] = {Kind::power_suffixed, zeros, "th"};
    };
    power("hundred", 2);
    int zeros = 0;
    for (const char* word : {"thousand", "million", "billion", "trillion", "quadrillion", "quintillion", "sextillion",
                             "septillion", "octillion", "nonillion", "decillion"})
        power(word, zeros += 3);
    lexicon["minus"] = lexicon["negative"] = {Kind::sign, 0, "-"};
    lexicon["plus"] = lexicon["positive"] = {Kind::sign, 0, "+"};
    lexicon["pound"] = lexicon["pounds"] = {Kind::currency, 0, "£"};
    lexicon["euro"] = lexicon["euros"] = {Kind::currency, 0, "€"};
    lexicon["dollar"] = lexicon["dollars"] = {Kind::currency, 0, "$"};
    lexicon["cent"] = lexicon["cents"] = {Kind::currency, 0, "¢"};
    lexicon["per"] = lexicon["percent"] = {Kind::percent, 0, "%"};
    for (const char* word : {"and", "double", "triple", "point"}) lexicon[word] = {Kind::special, 0, ""};
    return lexicon;
}

const NumberWord& look_up(const std::string& word) {
    static const Lexicon lexicon = make_lexicon();
    static const NumberWord unknown;
    const auto found = lexicon.find(word);
    return found == lexicon.end() ? unknown : found->second;
}

/// The number read so far. `text` numbers grew digit by digit ("one oh one") and only ever grow at the end; the others
/// are integers, to which the next word may be added. Integers are decimal digits without leading zeros.
struct Value {
    std::string digits;
    bool text = false;
};

std::string without_leading_zeros(const std::string& digits) {
    const size_t first = digits.find_first_not_of('0');
    return first == std::string::npos ? "0" : digits.substr(first);
}

/// Decimal digits of any script as 0..9; other characters stay.
std::string ascii_digits(const std::string& number) {
    std::u32string code = to_utf32(number);
    for (char32_t& c : code)
        if (is_digit(c)) c = U'0' + static_cast<char32_t>(digit_value(c));
    return to_utf8(code);
}

/// digits, or digits '.' digits
bool is_arabic(std::string_view word) {
    const std::u32string code = to_utf32(word);
    size_t i = 0;
    while (i < code.size() && is_digit(code[i])) ++i;
    if (i == 0 || i == code.size()) return i > 0;
    const size_t decimals = i + 1;
    if (code[i] != U'.' || decimals == code.size()) return false;
    for (i = decimals; i < code.size(); ++i)
        if (!is_digit(code[i])) return false;
    return true;
}

std::string_view currency_prefix(std::string_view word) {
    for (std::string_view symbol : {"£", "€", "$", "¢"})
        if (word.starts_with(symbol)) return symbol;
    return {};
}

/// number * 10^zeros if that is an integer; nothing if it is not, or if the text is no number ("1.2.3").
std::optional<std::string> times_power(const std::string& number, int zeros) {
    std::string ascii = ascii_digits(number);
    const size_t point = ascii.find('.');
    std::string decimals = point == std::string::npos ? "" : ascii.substr(point + 1);
    std::string digits = ascii.substr(0, point);
    if (digits.empty() && decimals.empty()) return std::nullopt;
    if ((digits + decimals).find_first_not_of("0123456789") != std::string::npos) return std::nullopt;
    while (static_cast<int>(decimals.size()) < zeros) decimals += '0';
    const std::string rest = decimals.substr(static_cast<size_t>(zeros));
    if (rest.find_first_not_of('0') != std::string::npos) return std::nullopt;
    return without_leading_zeros(digits + decimals.substr(0, static_cast<size_t>(zeros)));
}

/// Adds two integers given as digits.
std::string add(std::string a, std::string b) {
    if (a.size() < b.size()) std::swap(a, b);
    b.insert(0, a.size() - b.size(), '0');
    int carry = 0;
    for (size_t i = a.size(); i-- > 0;) {
        const int sum = (a[i] - '0') + (b[i] - '0') + carry;
        a[i] = static_cast<char>('0' + sum % 10);
        carry = sum / 10;
    }
    return without_leading_zeros((carry ? "1" : "") + a);
}

/// "two thousand three" * hundred: only the last three digits are multiplied.
std::string multiply_last_group(const std::string& digits, int zeros) {
    const size_t split = digits.size() > 3 ? digits.size() - 3 : 0;
    const std::string before = digits.substr(0, split) + "000", residual = digits.substr(split);
    return add(without_leading_zeros(before),
               without_leading_zeros(residual + std::string(static_cast<size_t>(zeros), '0')));
}

/// value + n where the last `places` digits of value are free (zeros), else the digits one after the other.
Value add_or_append(const Value& value, int n, size_t places) {
    const std::string& digits = value.digits;
    const size_t kept = digits.size() > places ? digits.size() - places : 0;
    const bool room =
        !value.text &&
        (digits == "0" || (digits.size() > places && digits.find_first_not_of('0', kept) == std::string::npos));
    if (room) return {add(digits, std::to_string(n)), false};
    return {digits + std::to_string(n), true};
}

class NumberReader {
public:
    explicit NumberReader(const std::vector<std::string>& words) : words_(words) {}

    std::vector<std::string> read() {
        for (i_ = 0; i_ < words_.size(); ++i_) {
            const std::string& word = words_[i_];
            const NumberWord& entry = look_up(word);
            const std::string_view symbol = currency_prefix(word);
            if (is_arabic(std::string_view(word).substr(symbol.size()))) {
                arabic(word, std::string(symbol));
                continue;
            }
            switch (entry.kind) {
                case Kind::none: flush(), emit(word); break;
                case Kind::zero: value_ = Value{digits_or_nothing() + "0", true}; break;
                case Kind::one: value_ = with_one(entry.value); break;
                case Kind::ten: value_ = with_ten(entry.value); break;
                case Kind::one_suffixed: emit(with_one(entry.value).digits + entry.symbol); break;
                case Kind::ten_suffixed: emit(with_ten(entry.value).digits + entry.symbol); break;
                case Kind::power: power(entry.value); break;
                case Kind::power_suffixed: power_suffixed(entry.value, entry.symbol); break;
                case Kind::sign: sign(word, entry.symbol); break;
                case Kind::currency: currency(word, entry.symbol); break;
                case Kind::percent: percent(word); break;
                case Kind::special: special(word); break;
            }
        }
        flush();
        return std::move(out_);
    }

private:
    const NumberWord& previous() const {
        return look_up(i_ > 0 ? words_[i_ - 1] : std::string());
    }
    const NumberWord& next() const {
        return look_up(i_ + 1 < words_.size() ? words_[i_ + 1] : std::string());
    }
    bool next_is_arabic() const {
        return i_ + 1 < words_.size() && is_arabic(words_[i_ + 1]);
    }
    void emit(const std::string& text) {
        out_.push_back(prefix_ + text);
        prefix_.clear();
        value_.reset();
    }
    void flush() {
        if (value_) emit(std::string(value_->digits));
    }
    /// Digits read so far; an integer zero counts as nothing, as in "0 double seven".
    std::string digits_or_nothing() const {
        return value_ && (value_->text || value_->digits != "0") ? value_->digits : "";
    }

    void arabic(const std::string& word, const std::string& symbol) {
        if (value_ && value_->text && value_->digits.ends_with('.')) {  // decimals, or the parts of an IP address
            value_->digits += word;
            return;
        }
        flush();
        if (!symbol.empty()) prefix_ = symbol;
        const std::string number = word.substr(symbol.size());
        const std::optional<std::string> integer = times_power(number, 0);
        value_ = integer ? Value{*integer, false} : Value{number, true};
    }

    /// one..nineteen after what was read
    Value with_one(int n) const {
        if (!value_) return {std::to_string(n), false};
        if (value_->text || previous().kind == Kind::one) {
            if (previous().kind == Kind::ten && n < 10)  // "twenty" was appended as digits: its zero is free
                return {value_->digits.substr(0, value_->digits.size() - 1) + std::to_string(n), true};
            return {value_->digits + std::to_string(n), true};
        }
        return add_or_append(*value_, n, n < 10 ? 1 : 2);
    }
    /// twenty..ninety after what was read
    Value with_ten(int n) const {
        return value_ ? add_or_append(*value_, n, 2) : Value{std::to_string(n), false};
    }

    void power(int zeros) {
        const std::string one_and_zeros = "1" + std::string(static_cast<size_t>(zeros), '0');
        if (!value_) {
            value_ = Value{one_and_zeros, false};
        } else if (value_->text || value_->digits == "0") {
            if (const auto product = times_power(value_->digits, zeros)) {
                value_ = Value{*product, false};
            } else {
                flush();
                value_ = Value{one_and_zeros, false};
            }
        } else {
            value_ = Value{multiply_last_group(value_->digits, zeros), false};
        }
    }
    void power_suffixed(int zeros, const std::string& suffix) {
        const std::string one_and_zeros = "1" + std::string(static_cast<size_t>(zeros), '0');
        if (!value_) {
            emit(one_and_zeros + suffix);
        } else if (value_->text) {
            if (const auto product = times_power(value_->digits, zeros)) {
                emit(*product + suffix);
            } else {
                flush();
                emit(one_and_zeros + suffix);
            }
        } else {
            emit(multiply_last_group(value_->digits, zeros) + suffix);
        }
    }

    void sign(const std::string& word, const std::string& symbol) {
        flush();
        if (next().kind != Kind::none || next_is_arabic())
            prefix_ = symbol;
        else
            emit(word);
    }
    void currency(const std::string& word, const std::string& symbol) {
        if (!value_) return emit(word);
        prefix_ = symbol;
        flush();
    }
    void percent(const std::string& word) {
        if (value_ && word == "percent") return emit(value_->digits + "%");
        if (value_ && i_ + 1 < words_.size() && words_[i_ + 1] == "cent") {
            emit(value_->digits + "%");
            ++i_;
            return;
        }
        flush();
        emit(word);
    }

    void special(const std::string& word) {
        const Kind after = next().kind;
        if (after == Kind::none && !next_is_arabic()) {
            flush();
            emit(word);
        } else if (word == "and") {
            if (previous().kind == Kind::power) return;  // "two hundred and five"
            flush();
            emit(word);
        } else if (word == "point") {
            // before a word that is no digit, "point" vanishes; so it does in Whisper
            if (after == Kind::one || after == Kind::ten || after == Kind::zero || next_is_arabic())
                value_ = Value{digits_or_nothing() + ".", true};
        } else if (after == Kind::one || after == Kind::zero) {  // double, triple
            const std::string digit = std::to_string(next().value);
            std::string digits = digits_or_nothing();
            for (int repeat = word == "double" ? 2 : 3; repeat > 0; --repeat) digits += digit;
            value_ = Value{digits, true};
            ++i_;
        } else {
            flush();
            emit(word);
        }
    }

    const std::vector<std::string>& words_;
    size_t i_ = 0;
    std::string prefix_;  ///< sign or currency symbol for the next output
    std::optional<Value> value_;
    std::vector<std::string> out_;
};

}  // namespace

std::vector<std::string> digits_for_number_words(const std::vector<std::string>& words) {
    return NumberReader(words).read();
}

bool takes_a_half(const std::string& word) {
    const Kind kind = look_up(word).kind;
    return kind == Kind::zero || kind == Kind::one || kind == Kind::ten || kind == Kind::power;
}

}  // namespace wavllm
