# Sourced by the scripts before they do anything. -h and --help print the comment on top of the script and end it, another
# option ends it with exit code 2. What follows -- is no option; the script gets all arguments but that.

refuse() {
    printf '%s: %s; --help says more\n' "$(basename "$0")" "$1" >&2
    exit 2
}

given=()
while [ $# -gt 0 ]; do
    case $1 in
        --)
            shift
            given+=("$@")
            break
            ;;
        -h | --help)
            sed -n -e 1d -e '/^#/!q' -e 's/^# \{0,1\}//p' "$0"
            exit 0
            ;;
        -*) refuse "there is no option $1" ;;
        *) given+=("$1") ;;
    esac
    shift
done
set -- ${given[@]+"${given[@]}"} # without the braces an empty list is an error in Bash 3, which macOS has
