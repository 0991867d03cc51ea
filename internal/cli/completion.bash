# vmtb's own part of the completion for bash. In cobra's part, which follows, a word with an open quote is a syntax
# error to eval, and the common beginning of several ids is inserted without escapes.

# __vmtb_find_quote sets quote to the quote that is open in cur, and before to the part of cur that precedes it.
__vmtb_find_quote()
{
    local i c
    quote='' before=''
    for ((i = 0; i < ${#cur}; i++)); do
        c=${cur:i:1}
        if [[ $c == \\ && $quote != \' ]]; then
            ((i++))
        elif [[ -z $quote && ($c == \' || $c == \") ]]; then
            quote=$c before=${cur:0:i}
        elif [[ $c == "$quote" ]]; then
            quote=''
        fi
    done
    [[ -n $quote ]]
}

# __vmtb_begin closes an open quote in the word that vmtb gets, and sets flag to the "--flag=" that __vmtb_end puts back.
__vmtb_begin()
{
    local quote before
    if __vmtb_find_quote; then
        words[cword]+=$quote # bash replaces what follows the quote, not the flag
    elif [[ $cur == -*=* && $COMP_WORDBREAKS != *=* ]]; then
        flag=${cur%%=*}=
    fi
}

# __vmtb_end puts flag before the replies, where "=" ends no word: bash then replaces the flag as well.
__vmtb_end()
{
    local i value
    [[ -n $flag ]] || return 0
    for i in "${!COMPREPLY[@]}"; do
        value=${COMPREPLY[i]}
        if ((directive & 24)); then # files or directories, which bash does not find behind the flag
            compopt +o filenames
            [[ -d $value ]] && value+=/ && compopt -o nospace
            printf -v value %q "$value"
        fi
        COMPREPLY[i]=$flag$value
    done
}

# __vmtb_handle_quoted fills COMPREPLY if a quote is open. Bash replaces all that follows the quote, and closes it.
__vmtb_handle_quoted()
{
    local quote before comp tab=$'\t'
    __vmtb_find_quote || return
    for comp in "${completions[@]}"; do
        comp=${comp%%$tab*}
        [[ $comp == "$before"* ]] || continue
        comp=${comp:${#before}}
        if [[ $quote == \' ]]; then
            comp=${comp//\'/\'\\\'\'}
        else
            comp=${comp//\\/\\\\} comp=${comp//\"/\\\"} comp=${comp//\$/\\\$} comp=${comp//\`/\\\`}
        fi
        [[ $comp == "${cur:${#before}+1}"* ]] && COMPREPLY+=("$comp")
    done
    cur='' # in quotes ":" and "=" end no word: no part of COMPREPLY is on the line already
}

# __vmtb_escape_common escapes several replies if bash inserts a common beginning of them that needs it.
__vmtb_escape_common()
{
    local common=${COMPREPLY[0]-} comp escaped i
    [[ ${#COMPREPLY[@]} -gt 1 && $COMP_TYPE != 37 && $COMP_TYPE != 42 && "${completions[*]}" != *$'\t'* ]] || return 0
    for comp in "${COMPREPLY[@]}"; do
        while [[ $comp != "$common"* ]]; do
            common=${common%?}
        done
    done
    printf -v escaped %q "$common"
    [[ -z $common || $common == "$escaped" ]] && return
    for i in "${!COMPREPLY[@]}"; do
        printf -v "COMPREPLY[i]" %q "${COMPREPLY[i]}"
    done
}
