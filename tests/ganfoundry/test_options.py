"""The flags of train.py: which there are, what they set, exclude and are called in a run folder's name."""

import dataclasses

import click
import pytest

from dnnlib.errors import UserError
from ganfoundry import options
from ganfoundry.commands import calc_metrics, generate, style_mixing, train
from ganfoundry.generate import GenerateOptions
from ganfoundry.measuring import MeasureOptions
from ganfoundry.options import TrainFlags
from ganfoundry.style_mixing import MixingOptions
from tests.support.recipes import own_recipes
from tests.support.runs import make_zip
from training.data.dataset import ImageDataset
from training.registry import RECIPES

# A new flag is a promise to keep: a field is reached by --set already.
TRAIN = """
--outdir --cfg --data --resume --freezed -n --dry-run -v --verbose --plugin --set --cond --subset --mirror
--resolution --gamma --kimg --batch --batch-gpu --g-batch-gpu --d-batch-gpu --glr --dlr --cbase --cmax --map-depth
--mbstd-group --seed --aug --p --target --augpipe --lecam --metrics --metric-data --metrics-images --detector-path
--log --snap --tick --keep --desc --gpus --deterministic --max-restarts --timeout --precision --fp32 --nhwc --nobench
--allow-tf32 --graphs --workers --device
--for --pause --on-nan --bad-images --guardian
"""
GENERATE = """
--network --seeds --latents --projected-w --class --trunc --noise-mode --noise-seed --translate --rotate --recalibrate
--grid --from --outdir --overwrite --batch --precision --plugin --device
"""
STYLE_MIXING = """
--network --rows --cols --styles --class --trunc --noise-mode --spectrum --report --outdir --overwrite --batch
--precision --plugin --device
"""
CALC_METRICS = """
--network --images --metrics --data --mirror --seed --seeds --bootstrap --gpus --batch --precision --verbose --cache
--plot --detector-path --plugin --device --records
"""
STYLEGAN2_ADA = """
--outdir --gpus --snap --metrics --seed -n --dry-run --data --cond --subset --mirror --cfg --gamma --kimg --batch --aug
--p --target --augpipe --resume --freezed --fp32 --nhwc --nobench --allow-tf32 --workers
"""
STYLEGAN3 = '--batch-gpu --cbase --cmax --glr --dlr --map-depth --mbstd-group --desc --tick'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return make_zip(tmp_path_factory.mktemp('data') / 'tiny.zip')


@pytest.fixture
def plan(data, tmp_path, monkeypatch):
    """A function from flags to the run that they plan and its folder's name."""
    planned = []
    monkeypatch.setattr('ganfoundry.trainer.print_plan', lambda run, where, verbose: planned.append((run, where.name)))

    def make(*flags):
        train.main.main(['-n', f'--outdir={tmp_path}', f'--data={data}', *flags], standalone_mode=False)
        return planned.pop()

    return make


@pytest.mark.parametrize(
    ('command', 'options', 'required'),
    [
        (train.main, TrainFlags, {}),
        (generate.main, GenerateOptions, {'network': 'n'}),
        (style_mixing.main, MixingOptions, {'network': 'n'}),
        (calc_metrics.main, MeasureOptions, {}),
    ],
)
def test_every_option_is_a_field_of_its_dataclass_with_the_same_default(command, options, required):
    context = command.make_context('command', [f'--{name}={value}' for name, value in required.items()])
    assert options(**context.params) == options(**required)
    assert context.params.keys() == {field.name for field in dataclasses.fields(options)}


def options_of(command):
    return {name for option in command.params for name in option.opts if name.startswith('-')}


@pytest.mark.parametrize(
    ('command', 'options'),
    [
        (train.main, TRAIN),
        (generate.main, GENERATE),
        (style_mixing.main, STYLE_MIXING),
        (calc_metrics.main, CALC_METRICS),
    ],
)
def test_the_options_are_these_and_no_more(command, options):
    assert options_of(command) == set(options.split())


def test_every_flag_of_stylegan2_ada_and_the_new_ones_of_stylegan3_are_there():
    assert {*STYLEGAN2_ADA.split(), *STYLEGAN3.split()} <= options_of(train.main)


@pytest.mark.parametrize(
    ('flags', 'field', 'value'),
    [
        (['--aug=noaug'], 'aug.kind', 'noaug'),
        (['--aug=fixed', '--p=0.2'], 'aug.p', 0.2),
        (['--target=0.5'], 'aug.target', 0.5),
        (['--aug=apa', '--target=0.5'], 'aug.target', 0.5),
        (['--augpipe=bg'], 'aug.pipe', 'bg'),
        (['--aug=diffaug'], 'aug.kind', 'diffaug'),
        (['--lecam=0.01'], 'lecam.weight', 0.01),
        (['--freezed=2'], 'discriminator.freezed', 2),
        (['--nobench=1'], 'benchmark', False),
        (['--nobench=0'], 'benchmark', True),
        (['--allow-tf32=1'], 'allow_tf32', True),
        (['--map_depth=3', '--allow_tf32=true'], 'generator.map_depth', 3),
        (['--mbstd_group=2'], 'discriminator.mbstd_group', 2),
        (['--glr=0.001'], 'g_opt.lr', 0.001),
        (['--workers=1'], 'workers', 1),
        (['--snap=7'], 'snap', 7),
        (['--tick=2'], 'tick', 2.0),
        (['--fp32=1'], 'generator.conv_clamp', None),
        (['--on-nan=rollback'], 'on_nan', 'rollback'),
        (['--bad-images=skip'], 'bad_images', 'skip'),
        (['--guardian=off'], 'guardian.mode', 'off'),
    ],
)
def test_a_flag_sets_its_field(plan, flags, field, value):
    found = plan(*flags)[0].cfg
    for name in field.split('.'):
        found = getattr(found, name)
    assert found == value


def test_every_augpipe_is_a_preset_of_the_config(plan):
    option = next(option for option in train.main.params if option.name == 'augpipe')
    assert len(option.type.choices) == 12
    for pipe in option.type.choices:
        if 'f' not in pipe:  # the filter needs larger images than these
            assert plan(f'--augpipe={pipe}')[0].cfg.aug.pipe == pipe


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--aug=fixed'], '--aug=fixed requires specifying --p'),
        (['--p=0.2'], '--p can only be specified with --aug=fixed'),
        (['--aug=ada', '--p=0.2'], '--p can only be specified with --aug=fixed'),
        (['--aug=fixed', '--p=1.2'], '--p must be between 0 and 1'),
        (['--aug=fixed', '--p=nan'], '--p must be between 0 and 1'),
        (['--aug=noaug', '--target=0.5'], '--target can only be specified with --aug=ada'),
        (['--aug=fixed', '--p=0.1', '--target=0.5'], '--target can only be specified with --aug=ada'),
        (['--target=-0.1'], '--target must be between 0 and 1'),
        (['--aug=noaug', '--augpipe=bg'], '--augpipe cannot be specified with --aug=noaug'),
        (['--aug=diffaug', '--augpipe=bg'], '--augpipe cannot be specified with --aug=diffaug'),
        (['--aug=adda'], "'adda' is not one of 'noaug', 'ada', 'fixed', 'diffaug', 'apa'"),
        (['--augpipe=bgd'], "'bgd' is not one of"),
        (['--freezed=-1'], '--freezed must be non-negative'),
        (['--freezed=9'], 'freezed=9: the blocks of this discriminator have 7 layers'),
        (['--cfg=dcgan', '--freezed=2'], '--freezed: the discriminator of --cfg=dcgan has no freezed; the first layers '
         "that can be frozen are those of StyleGAN2's"),
        (['--cfg=dcgan', '--map-depth=2'], '--map-depth: the generator of --cfg=dcgan has no map_depth; it has'),
        (['--lecam=-1'], '--lecam must be non-negative'),
        (['--snap=0'], '--snap must be at least 1'),
        (['--resume=ffhq265'], "--resume=ffhq265: no such file or name; did you mean 'ffhq256'? known: "),
    ],
)  # fmt: skip
def test_flags_that_exclude_each_other_say_so(data, tmp_path, flags, message):
    with pytest.raises((UserError, click.UsageError)) as error:
        train.main.main([f'--outdir={tmp_path}', f'--data={data}', *flags], standalone_mode=False)
    text = str(error.value) or error.value.format_message()
    assert message in text
    assert '\n' not in text
    assert not list(tmp_path.iterdir())


def test_a_recipe_with_ada_takes_its_flags_without_aug(plan):
    assert plan('--cfg=auto')[0].cfg.aug.kind == 'ada'
    assert plan('--cfg=squeeze')[0].cfg.aug.kind == 'noaug'
    with pytest.raises(UserError, match=r'--target can only be specified with --aug=ada'):
        plan('--cfg=squeeze', '--target=0.5')


def test_a_flag_that_lost_its_meaning_is_answered_with_a_note(plan):
    assert 'the flag changes nothing' in ' '.join(plan('--nhwc=1')[0].notes)
    assert 'keep their random weights' in ' '.join(plan('--freezed=1')[0].notes)
    assert not any('nhwc' in note for note in plan('--nhwc=0')[0].notes)
    assert options.notes_on(TrainFlags(verbose=True)) == (
        '--verbose without --dry-run changes nothing: -n -v prints the whole plan',
    )
    assert not plan('-v')[0].notes


@pytest.mark.parametrize(
    ('flags', 'name'),
    [
        ([], 'tiny-auto'),
        (['--cond=1', '--subset=20', '--mirror=1', '--cfg=paper256', '--gamma=2.5', '--kimg=5', '--batch=8'],
         'tiny-cond-subset20-mirror-paper256-gamma2.5-kimg5-batch8'),
        (['--aug=ada', '--target=0.7', '--augpipe=bg', '--freezed=2', '--desc=mine'],
         'tiny-auto-ada-target0.7-bg-freezed2-mine'),
        (['--aug=fixed', '--p=0.25', '--resume=noresume'], 'tiny-auto-fixed-p0.25-noresume'),
        (['--resume=ffhq256', '--freezed=3'], 'tiny-auto-resumeffhq256-freezed3'),
        (['--resume=https://host/net.pkl', '--lecam=0.01'], 'tiny-auto-resumecustom-lecam0.01'),
        (['--resume=auto'], 'tiny-auto'),
    ],
)  # fmt: skip
def test_a_run_folder_is_called_as_in_stylegan2_ada(plan, flags, name):
    assert plan(*flags)[1] == f'NNNNN-{name}'


def test_a_dry_run_downloads_nothing(plan, monkeypatch):
    monkeypatch.setenv('GANFOUNDRY_OFFLINE', '1')  # a download would be refused
    run, _ = plan('--resume=ffhq256', '--set', 'aug.kimg=50')
    assert '--resume=ffhq256: is downloaded when training begins' in run.notes
    assert (run.cfg.aug.kimg, run.cfg.ema.rampup) == (50, None)


def test_transfer_brings_the_settings_of_stylegan2_ada(plan):
    assert (plan()[0].cfg.aug.kimg, plan()[0].cfg.ema.rampup) == (500, 0.05)
    cfg = plan('--resume=celebahq256')[0].cfg
    assert (cfg.aug.kimg, cfg.ema.rampup) == (100, None)


def test_no_recipe_that_is_not_stylegan2_has_layers_to_freeze(data):
    """The sentence that refuses --freezed names StyleGAN2's discriminator as the one that can."""
    dataset = ImageDataset(options.data_config(TrainFlags(data=str(data), resolution=16)), 0)
    for name in own_recipes():
        recipe = RECIPES.get(name)
        if recipe.min_resolution <= 16:
            discriminator = recipe.make(dataset.spec, 1).discriminator
            assert hasattr(discriminator, 'freezed') == (type(discriminator).__name__ == 'StyleGAN2DiscriminatorConfig')
